//! An interactive shell in the guest, through a pseudo-terminal, on the serial port and on hvc0.

use crate::common::terminal::Terminal;
use crate::guest::{Boot, in_emulation};
use crate::kernels::Kernel;

/// At a shell's prompt; afterwards at the next.
pub(crate) fn edit_a_line_and_interrupt_a_command(terminal: &mut Terminal) {
    terminal.wait_for("# ");
    // Two backspaces and a cursor key: the guest's own line editing.
    terminal.type_in(b"echo abXX\x7f\x7fc\x1b[D-d\r");
    terminal.wait_for("\nab-dc");
    terminal.wait_for("# ");
    // The foreground process says itself that it runs: the shell would lose a Ctrl-C that comes
    // before its child has the terminal. The quotes keep what is typed apart from what is printed.
    terminal.type_in(b"sh -c 'echo run\"\"ning; exec sleep 1000'\r");
    terminal.wait_for("running");
    terminal.type_in(b"\x03");
    terminal.wait_for("# ");
}

fn shell(boot: Boot) {
    let boot = boot.word("duplex.then=shell");
    in_emulation(&boot, || {
        let mut terminal = boot.at_terminal();
        edit_a_line_and_interrupt_a_command(&mut terminal);
        terminal.type_in(b"echo status $?\r");
        terminal.wait_for("status 130");
        terminal.type_in(b"exit\r");
        assert_eq!(terminal.end().code(), Some(0));
        assert!(terminal.is_as_before());
    });
}

#[test]
fn a_shell_edits_lines_and_passes_ctrl_c_to_the_guest() {
    shell(Boot::new(Kernel::TunedElf));
}

#[test]
fn a_shell_on_hvc0_is_the_same() {
    shell(Boot::new(Kernel::TunedElf).hvc());
}

#[test]
fn hvc0_is_the_console_of_debians_kernels_once_they_have_the_driver() {
    for kernel in [Kernel::Debian61Elf, Kernel::Debian612Elf] {
        let boot = Boot::new(kernel).hvc();
        in_emulation(&boot, || boot.run().assert_user_space(&boot));
    }
}

#[test]
fn hvc0_has_the_terminals_size() {
    let boot = Boot::new(Kernel::TunedElf).hvc().word("duplex.then=shell");
    in_emulation(&boot, || {
        let mut terminal = boot.at_terminal();
        terminal.wait_for("# ");
        terminal.type_in(b"stty size\r");
        terminal.wait_for("\n24 80");
        // Linux hears of a change by an interrupt, and tells it by a work of its own.
        terminal
            .type_in(b"until [ \"$(stty size)\" = '50 132' ]; do usleep 10000; done; stty size\r");
        terminal.resize(50, 132);
        terminal.wait_for("\n50 132");
        terminal.type_in(b"exit\r");
        assert_eq!(terminal.end().code(), Some(0));
        assert!(terminal.is_as_before());
    });
}

fn paste(boot: Boot, eaten: u8) {
    let boot = boot.word("duplex.then=echo").word("duplex.bytes=65536");
    in_emulation(&boot, || {
        let mut terminal = boot.at_terminal();
        terminal.wait_for("duplex guest: ready\r\n");
        // Every byte value but the escape key, and what the guest's kernel keeps to itself.
        let pasted: Vec<u8> = (0..65536_u32)
            .map(|n| u8::try_from((n * 7 + n / 251) % 256).unwrap())
            .map(|byte| if byte == 1 || byte == eaten { b'!' } else { byte })
            .collect();
        terminal.paste(&pasted);
        let echoed = terminal.read_exactly(pasted.len());
        let differ = pasted.iter().zip(&echoed).position(|(a, b)| a != b);
        assert_eq!(differ, None, "the first difference");
        terminal.wait_for("echoed 65536 bytes");
        assert_eq!(terminal.end().code(), Some(0));
        assert!(terminal.is_as_before());
    });
}

#[test]
fn what_is_pasted_comes_back_byte_for_byte() {
    paste(Boot::new(Kernel::TunedElf), 1);
}

#[test]
fn what_is_pasted_into_hvc0_comes_back_byte_for_byte() {
    // Linux takes Ctrl-O at hvc0 for the SysRq key (drivers/tty/hvc/hvc_console.c).
    paste(Boot::new(Kernel::TunedElf).hvc(), 0x0F);
}

#[test]
fn ctrl_a_x_leaves_a_guest_in_the_testbed_too() {
    let boot = Boot::new(Kernel::TunedElf).word("duplex.then=hang");
    in_emulation(&boot, || {
        let mut terminal = boot.at_terminal();
        terminal.wait_for("duplex guest: hang");
        terminal.type_in(b"\x01x");
        assert_eq!(terminal.end().code(), Some(0));
        assert!(terminal.is_as_before());
    });
}
