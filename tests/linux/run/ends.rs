//! How commands end, and what is refused before they begin.

use duplex::host::virtualization;
use nix::sys::signal::Signal;

use super::{command, complained, end_of, said, shell};
use crate::common::process::Process;
use crate::guest::in_emulation;

#[test]
fn exit_statuses_are_exact() {
    in_emulation(&"exit statuses", || {
        assert_eq!(said(command(&[], &["echo", "hello"])), ("hello\n".into(), Some(0)));
        assert_eq!(said(shell(&[], "exit 7")).1, Some(7));
        assert_eq!(said(shell(&[], "kill -9 $$")).1, Some(137));
        assert_eq!(said(shell(&[], "kill -TERM $$")).1, Some(143));
        // No signal is blocked, as init's are.
        let hang_up = "grep SigBlk /proc/self/status; kill -HUP $$";
        assert_eq!(said(shell(&[], hang_up)), ("SigBlk:\t0000000000000000\n".into(), Some(129)));
        // A real-time signal, to the command and to one that PID 1 has to reap.
        assert_eq!(said(shell(&[], "kill -34 $$")).1, Some(162));
        let orphan = "(sleep 9 & echo $! >/pid); kill -40 $(cat /pid); sleep 0.5; exit 3";
        assert_eq!(said(shell(&[], orphan)).1, Some(3));
        let (text, status) = complained(command(&[], &["nonesuch"]));
        assert!(text.contains("nonesuch: No such file or directory") && status == Some(127));
        let (text, status) = complained(command(&[], &["/etc/passwd"]));
        assert!(text.contains("/etc/passwd: Permission denied") && status == Some(126));
    });
}

#[test]
fn what_a_command_leaves_running_ends_with_it() {
    in_emulation(&"leftovers in the guest", || {
        // The child holds the pipe open, and is not waited for.
        let run = shell(&[], "sleep 1000 & echo started; exit 4");
        assert_eq!(said(run), ("started\n".into(), Some(4)));
    });
}

#[test]
fn signals_reach_the_command() {
    in_emulation(&"signals", || {
        let script = "trap 'echo usr1' USR1; trap 'echo term; exit 5' TERM; echo ready; \
                      while :; do sleep 0.1; done";
        let mut process = Process::start(&mut shell(&[], script));
        process.stdout.wait_for("ready\n");
        process.signal(Signal::SIGUSR1);
        process.stdout.wait_for("usr1\n");
        process.signal(Signal::SIGTERM);
        process.stdout.wait_for("term\n");
        assert_eq!(process.end().code(), Some(5));
        // One that does nothing about it.
        let mut process = Process::start(&mut shell(&[], "echo ready; exec sleep 1000"));
        process.stdout.wait_for("ready\n");
        process.signal(Signal::SIGINT);
        assert_eq!(process.end().code(), Some(130));
    });
}

#[test]
fn want_of_memory_is_told() {
    in_emulation(&"want of memory", || {
        // More than there is, at once; the kernel must not refuse it beforehand.
        let promise = "echo 1 > /proc/sys/vm/overcommit_memory";
        let eater = "dd bs=100M count=1 if=/dev/zero of=/dev/null";
        let script = format!("{promise}; exec {eater}");
        let (text, status) = complained(shell(&["--memory", "64M"], &script));
        assert!(text.contains("ran out of memory") && text.contains("--memory"), "{text}");
        assert_eq!(status, Some(137));
        // The command goes on, and says itself how it ends.
        let (text, status) =
            complained(shell(&["--memory", "64M"], &format!("{promise}; {eater}; exit 3")));
        assert!(text.contains("killed a process") && status == Some(3), "{text}");
    });
}

#[test]
fn what_cannot_be_honoured_is_refused() {
    let refused = |options: &[&str], reason: &str| {
        let output = end_of(command(options, &["true"]));
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(reason), "{options:?}: {text}");
        assert_eq!(output.status.code(), Some(125), "{options:?}");
        assert!(output.stdout.is_empty());
    };
    refused(&["--net", "user,speed=1"], "no option of a network");
    refused(&["--net", "tap=t,ip=10.9.8.2"], "is no address of a guest");
    if virtualization().lack().is_some() {
        refused(&["--net", "user"], "which has no network");
    }
    refused(&["-it"], "standard input is no terminal");
    refused(&["-d", "-i"], "cannot be used with");
    refused(&["--name", "a/b"], "is no name");
    refused(&["--cpus", "99"], "is not a number of vCPUs");
    refused(&["--memory", "1M"], "too little memory");
    refused(&["-e", "=x"], "names no variable");
    refused(&["--keep", "/nonesuch/file"], "--keep /nonesuch/file");
    refused(&["--keep", "x", "--read-only"], "cannot be used with");
    refused(&["--hugetlb-limit", "2M:4M"], "no VM has its memory in such pages");
    refused(&["--security-opt", "apparmor=unconfined"], "add --container");
    refused(&["--cap-add", "ALL"], "add --container");
    refused(&["--memory", "64M", "--memory-swap", "32M"], "give at least the 67108864 bytes");
    let mut run = crate::common::duplex(&["run", "/nonesuch", "true"]);
    let output = crate::common::process::output(&mut run);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("image /nonesuch: No such file") && output.status.code() == Some(125));
}

#[test]
fn an_unknown_user_is_named() {
    in_emulation(&"an unknown user", || {
        let (text, status) = complained(command(&["-u", "eve"], &["true"]));
        assert!(text.contains("/etc/passwd has no user eve") && status == Some(125), "{text}");
    });
}
