//! The console, on this host's own KVM with guests of a few instructions: the terminal is given
//! back on every way out, and every kind of standard stream works.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};

use common::process::{Process, output, status};
use common::terminal::Terminal;
use common::tiny_kernel::{self, PRINT_AND_CRASH, PRINT_AND_LOOP};
use common::{duplex, has_kvm, temporary_file, text};
use nix::sys::signal::Signal;

fn boot(kernel: &std::path::Path) -> Command {
    duplex(&["boot", "--testbed", "never", "--memory", "32M", "--kernel", text(kernel)])
}

/// Boots a guest in a terminal and waits until it runs; `None` without KVM.
fn start(code: &[u8]) -> Option<(tempfile::TempDir, Terminal)> {
    if !has_kvm() {
        return None;
    }
    let (directory, kernel) = temporary_file("kernel", &tiny_kernel::elf(code));
    let mut terminal = Terminal::start(&mut boot(&kernel));
    terminal.wait_for("up\n");
    Some((directory, terminal))
}

#[test]
fn ctrl_a_x_quits_and_ctrl_a_h_helps() {
    let Some((_directory, mut terminal)) = start(PRINT_AND_LOOP) else { return };
    assert!(!terminal.is_as_before(), "the terminal is not raw");
    terminal.type_in(b"\x01h");
    terminal.wait_for("end the guest and duplex");
    terminal.type_in(b"\x01x");
    assert_eq!(terminal.end().code(), Some(0));
    assert!(terminal.is_as_before());
}

#[test]
fn signals_end_it_with_their_number_and_the_terminal_as_it_was() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        let Some((_directory, mut terminal)) = start(PRINT_AND_LOOP) else { return };
        terminal.signal(signal);
        assert_eq!(terminal.end().code(), Some(128 + signal as i32), "{signal}");
        assert!(terminal.is_as_before(), "{signal}");
    }
}

#[test]
fn a_crash_of_the_guest_is_reported_on_a_terminal_that_is_as_it_was() {
    let Some((_directory, mut terminal)) = start(PRINT_AND_CRASH) else { return };
    assert_eq!(terminal.end().code(), Some(125));
    assert!(terminal.is_as_before());
    terminal.wait_for("try:");
    let screen = terminal.text();
    assert!(screen.contains("vCPU 0: triple fault"), "{screen}");
}

#[test]
fn a_stop_gives_the_terminal_back_and_a_continue_takes_it_again() {
    let Some((_directory, mut terminal)) = start(PRINT_AND_LOOP) else { return };
    for _ in 0..3 {
        terminal.signal(Signal::SIGTSTP);
        terminal.stopped();
        assert!(terminal.is_as_before());
        terminal.signal(Signal::SIGCONT);
        // It is raw again when the escape key is understood without a newline.
        terminal.type_in(b"\x01h");
        terminal.wait_for("end the guest and duplex");
        assert!(!terminal.is_as_before());
    }
    terminal.type_in(b"\x01x");
    assert_eq!(terminal.end().code(), Some(0));
    assert!(terminal.is_as_before());
}

#[test]
fn a_hung_up_terminal_ends_it() {
    let Some((_directory, terminal)) = start(PRINT_AND_LOOP) else { return };
    assert_eq!(terminal.hang_up().end().code(), Some(128 + Signal::SIGHUP as i32));
}

#[test]
fn output_goes_to_pipes_and_files_and_into_nothing() {
    if !has_kvm() {
        return;
    }
    let (directory, kernel) = temporary_file("kernel", &tiny_kernel::elf(PRINT_AND_CRASH));
    let piped = output(&mut boot(&kernel));
    assert_eq!((piped.status.code(), &*piped.stdout), (Some(125), &b"up\n"[..]));

    let path = directory.path().join("console.log");
    let to_file = output(boot(&kernel).args(["--serial", text(&path)]));
    assert_eq!((to_file.status.code(), &*to_file.stdout), (Some(125), &b""[..]));
    assert_eq!(std::fs::read(&path).unwrap(), b"up\n");

    let off = output(boot(&kernel).args(["--serial", "off"]));
    assert_eq!((off.status.code(), &*off.stdout), (Some(125), &b""[..]));

    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    assert_eq!(status(boot(&kernel).stdout(full)).code(), Some(125));
}

#[test]
fn closed_standard_streams_are_no_failure() {
    if !has_kvm() {
        return;
    }
    let (_directory, kernel) = temporary_file("kernel", &tiny_kernel::elf(PRINT_AND_CRASH));
    for closed in [0, 1, 2] {
        let mut command = boot(&kernel);
        // SAFETY: close(2) may be called between fork and exec.
        unsafe {
            command.pre_exec(move || {
                libc::close(closed);
                Ok(())
            });
        }
        let status = status(command.stdout(Stdio::null()).stderr(Stdio::null()));
        assert_eq!(status.code(), Some(125), "closed {closed}: {status:?}");
    }
}

#[test]
fn messages_that_nobody_takes_do_not_change_the_status() {
    for arguments in [&["boot", "--kernel", "/nonexistent"][..], &["testbed", "run", "--", "/none"]]
    {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let expected = output(&mut duplex(arguments)).status.code();
        assert_eq!(status(duplex(arguments).stderr(full)).code(), expected, "{arguments:?}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(status(duplex(arguments).stderr(writer)).code(), expected, "{arguments:?}");
    }
}

#[test]
fn a_reader_that_goes_away_does_not_end_the_guest() {
    if !has_kvm() {
        return;
    }
    let (_directory, kernel) = temporary_file("kernel", &tiny_kernel::elf(PRINT_AND_LOOP));
    let mut command = boot(&kernel);
    let mut process = Process::start(command.stdin(Stdio::null()).stdout(Stdio::piped()));
    process.stdout.close();
    process.signal(Signal::SIGTERM);
    let status = process.end();
    assert!(status.code() == Some(143) || status.signal() == Some(15), "{status:?}");
}
