//! The testbed at a terminal: a shell's job control, window sizes, and a terminal that is left as
//! it was found.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests fail by panicking")]

mod common;

use std::process::Command;

use common::process::output;
use common::terminal::Terminal;
use common::testbed::{in_testbed, shared};
use common::{DUPLEX, has_testbed};
use nix::sys::signal::Signal;

/// The testbed's command at a terminal.
fn at_terminal(script: &str) -> Terminal {
    Terminal::start(&mut in_testbed(script))
}

/// Waits for the end and checks that the terminal is as it was.
fn end_of(mut terminal: Terminal) -> Option<i32> {
    let status = terminal.end();
    assert!(terminal.is_as_before());
    status.code()
}

#[test]
fn the_command_has_a_terminal_of_the_same_size() {
    if !has_testbed() {
        return;
    }
    let mut terminal = at_terminal(
        "tty; stty size; trap 'stty size; exit 4' WINCH; echo ready; while :; do sleep 0.1; done",
    );
    assert!(terminal.wait_for("24 80").contains("/dev/pts/"));
    terminal.wait_for("ready");
    assert!(terminal.is_raw());
    terminal.resize(50, 132);
    terminal.wait_for("50 132");
    assert_eq!(end_of(terminal), Some(4));
}

#[test]
fn line_editing_and_control_characters_work_there() {
    if !has_testbed() {
        return;
    }
    let mut terminal = at_terminal(
        "trap 'echo interrupted' INT; echo ready; read line; echo \"<$line>\"; cat; exit 6",
    );
    terminal.wait_for("ready");
    terminal.type_in("hexx\x7f\x7fllo\r");
    // The whole line: what is typed before its end is echoed within it.
    terminal.wait_for("<hello>\r\n");
    // The shell is out of the way once cat answers.
    terminal.type_in("cat\r");
    terminal.wait_for("cat\r\ncat\r\n");
    terminal.type_in("\x03");
    terminal.wait_for("interrupted");
    assert_eq!(end_of(terminal), Some(6));
}

/// A command that is known to run: a shell that is about to execute its last command may lose a
/// SIGINT.
fn cat_that_answers() -> Terminal {
    let mut terminal = at_terminal("exec cat");
    terminal.type_in("there?\r");
    terminal.wait_for("there?\r\nthere?\r\n");
    terminal
}

#[test]
fn control_c_ends_a_command_and_the_terminal_is_restored() {
    if !has_testbed() {
        return;
    }
    let mut terminal = cat_that_answers();
    terminal.type_in("\x03");
    assert_eq!(end_of(terminal), Some(130));
}

#[test]
fn signals_from_outside_leave_the_terminal_as_it_was() {
    if !has_testbed() {
        return;
    }
    for (number, status) in [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129), (Signal::SIGINT, 130)] {
        let terminal = cat_that_answers();
        terminal.signal(number);
        assert_eq!(end_of(terminal), Some(status));
    }
}

#[test]
fn a_shell_stops_and_continues_it() {
    if !has_testbed() {
        return;
    }
    let mut shell = Command::new("bash");
    shell.args(["--norc", "--noprofile", "-i"]).env("XDG_RUNTIME_DIR", shared());
    shell.env("duplex", DUPLEX).env("TERM", "dumb").env("PS1", "prompt> ");
    let mut terminal = Terminal::start(&mut shell);
    terminal.wait_for("prompt> ");
    terminal.type_in("$duplex testbed run -- sh -c 'echo re\"\"ady; cat; exit 8'\r");
    terminal.wait_for("ready\r\n");
    terminal.type_in("one\r");
    terminal.wait_for("one\r\none\r\n");
    // Stopped by the terminal in the testbed, and with it the client here.
    terminal.type_in("\x1a");
    terminal.wait_for("Stopped");
    terminal.wait_for("prompt> ");
    terminal.type_in("stty -a | grep -o ' echo '; echo visible\r");
    terminal.wait_for(" echo \r\n");
    terminal.wait_for("prompt> ");
    terminal.type_in("fg\r");
    terminal.wait_for("cat");
    terminal.wait_until_raw();
    terminal.type_in("two\r");
    terminal.wait_for("two\r\ntwo\r\n");
    terminal.type_in("\x04");
    terminal.wait_for("prompt> ");
    terminal.type_in("echo status=$?\r");
    terminal.wait_for("status=8");
    // In the background it leaves the terminal alone.
    terminal.wait_for("prompt> ");
    terminal.type_in("$duplex testbed run -- sh -c 'sleep 1; echo back\"\"ground' &\r");
    terminal.wait_for("prompt> ");
    terminal.wait_for("background");
    terminal.type_in("wait; echo finished=$?\r");
    terminal.wait_for("finished=0");
    terminal.type_in("exit\r");
    assert_eq!(end_of(terminal), Some(0));
}

#[test]
fn what_is_pasted_arrives_whole() {
    if !has_testbed() {
        return;
    }
    let mut terminal = at_terminal("stty raw -echo; echo ready; head -c 65536 | md5sum; stty sane");
    terminal.wait_for("ready");
    let text: Vec<u8> = (0..65536_u32).map(|n| b'a' + u8::try_from(n % 23).unwrap()).collect();
    terminal.paste(&text);
    let place = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(place.path(), &text).unwrap();
    let expected = output(Command::new("md5sum").arg(place.path()));
    let expected = String::from_utf8(expected.stdout).unwrap();
    terminal.wait_for(expected.split_whitespace().next().unwrap());
    assert_eq!(end_of(terminal), Some(0));
}
