//! Guests that stay, and those that are killed.

use std::process::{Command, Stdio};

use super::{complained, end_of, said, shell};
use crate::common::process::Process;
use crate::common::testbed;
use crate::guest::in_emulation;

/// Another of duplex's commands.
fn duplex(arguments: &[&str]) -> Command {
    let mut command = testbed::duplex(testbed::shared());
    command.args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The places of guests in the state directory.
fn places() -> Vec<String> {
    let entries = std::fs::read_dir(testbed::shared().join("duplex")).unwrap().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("run-")).collect()
}

#[test]
fn a_detached_guest_is_joined_and_stopped() {
    in_emulation(&"a detached guest", || {
        let _ = end_of(duplex(&["rm", "--force", "stays"]));
        let script = "echo here > /file; trap 'exit 3' TERM; while :; do sleep 0.1; done";
        let run = shell(&["-d", "--name", "stays"], script);
        assert_eq!(said(run), ("stays\n".into(), Some(0)));
        assert!(said(duplex(&["ps"])).0.contains("\n stays "));
        let (text, status) = complained(shell(&["--name", "stays"], "true"));
        assert!(text.contains("there is an instance") && status == Some(125), "{text}");

        let exec = |argv: &[&str]| said(duplex(&[&["exec"], argv].concat()));
        assert_eq!(exec(&["stays", "sh", "-c", "cat /file; exit 9"]), ("here\n".into(), Some(9)));
        let as_ann =
            ["-u", "ann", "-w", "/tmp", "-e", "A=1", "stays", "sh", "-c", "id -u; pwd; echo $A"];
        assert_eq!(exec(&as_ann), ("1000\n/tmp\n1\n".into(), Some(0)));
        assert_eq!(exec(&["stays", "nonesuch"]).1, Some(127));
        let mut with_input = duplex(&["exec", "-i", "stays", "wc", "-c"]);
        let mut process = Process::start(with_input.stdin(Stdio::piped()));
        drop(std::io::Write::write_all(&mut process.take_stdin(), b"12345"));
        assert_eq!(String::from_utf8_lossy(&process.output().stdout).trim(), "5");

        assert_eq!(said(duplex(&["stop", "stays"])), ("stays\n".into(), Some(0)));
        let (text, status) = complained(duplex(&["exec", "stays", "true"]));
        assert!(text.contains("stays has ended, with status 3") && status == Some(125), "{text}");
        assert_eq!(said(duplex(&["rm", "stays"])), ("stays\n".into(), Some(0)));
        assert!(!places().contains(&"run-stays".to_owned()));
    });
}

#[test]
fn a_detached_guest_that_cannot_start_says_so() {
    in_emulation(&"a detached failure", || {
        let (text, status) = complained(super::command(&["-d"], &["nonesuch"]));
        assert!(text.contains("nonesuch: No such file") && status == Some(127), "{text}");
    });
}

#[test]
fn killed_it_leaves_nothing() {
    in_emulation(&"a killed guest", || {
        let script = "echo ready; exec sleep 1000";
        let mut process = Process::start(&mut shell(&["--name", "killed"], script));
        process.stdout.wait_for("ready\n");
        assert!(places().contains(&"run-killed".to_owned()));
        process.kill();
        // The next command finds the place's lock free, and removes it; and the guest ends with
        // whoever ran it.
        assert!(!said(duplex(&["ps"])).0.contains("killed"));
        assert!(!places().contains(&"run-killed".to_owned()));
        // In the testbed, where the guest was, its lock is free as soon as its process has ended.
        let script = format!(
            "export XDG_RUNTIME_DIR=/dev/shm; flock /dev/shm/duplex/run-killed/lock true 2>/dev/null
             {} ps >/dev/null; ls -d /dev/shm/duplex/run-killed 2>/dev/null || echo gone",
            crate::common::DUPLEX
        );
        assert_eq!(String::from_utf8_lossy(&testbed::run(&script).stdout), "gone\n");
        assert_eq!(said(shell(&["--name", "killed"], "exit 2")).1, Some(2));
    });
}
