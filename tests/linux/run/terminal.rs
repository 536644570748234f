//! Commands at a terminal.

use super::{command, shell};
use crate::common::terminal::Terminal;
use crate::console::edit_a_line_and_interrupt_a_command;
use crate::guest::in_emulation;

#[test]
fn the_command_has_a_terminal_of_the_same_size() {
    in_emulation(&"a terminal", || {
        let script = "tty; stty size; trap 'stty size; exit 4' WINCH; echo ready; \
                      while :; do sleep 0.1; done";
        let mut terminal = Terminal::start(&mut shell(&["-it"], script));
        assert!(terminal.wait_for("24 80").contains("/dev/pts/"));
        terminal.wait_for("ready");
        assert!(terminal.is_raw());
        terminal.resize(50, 132);
        terminal.wait_for("50 132");
        assert_eq!(terminal.end().code(), Some(4));
        assert!(terminal.is_as_before());
    });
}

#[test]
fn a_shell_edits_lines_and_control_c_ends_its_command() {
    in_emulation(&"a shell", || {
        let mut terminal = Terminal::start(&mut command(&["-it"], &["sh"]));
        edit_a_line_and_interrupt_a_command(&mut terminal);
        terminal.type_in(b"exit 6\r");
        assert_eq!(terminal.end().code(), Some(6));
        assert!(terminal.is_as_before());
    });
}

#[test]
fn a_terminal_without_input_leaves_the_callers_as_it_is() {
    in_emulation(&"a terminal without input", || {
        let script = "tty; echo ready; exec sleep 1000";
        let mut terminal = Terminal::start(&mut shell(&["-t"], script));
        terminal.wait_for("ready");
        assert!(!terminal.is_raw());
        // The caller's terminal makes it a signal.
        terminal.type_in(b"\x03");
        assert_eq!(terminal.end().code(), Some(130));
    });
}
