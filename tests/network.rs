//! `duplex network`, in network namespaces of the tests' own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/mod.rs"]
mod common;

use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::thread;

use common::{DUPLEX, find_program, say, soak};
use nix::sched::{CloneFlags, unshare};

/// Runs `test` on a thread in a network namespace of its own, where that is allowed.
fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(|| {
        if unshare(CloneFlags::CLONE_NEWNET).is_err() {
            say("SKIPPED: network namespaces take root");
            return;
        }
        if !find_program("nft") {
            say("SKIPPED: nft is not installed (make packages)");
            return;
        }
        // A new namespace begins with what the host has.
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
        test();
    });
    thread.join().unwrap();
}

fn run(program: &str, arguments: &str) -> Output {
    Command::new(program).args(arguments.split_whitespace()).output().unwrap()
}

/// What a command says that succeeds.
fn said(program: &str, arguments: &str) -> String {
    let output = run(program, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// What duplex says on stderr when it refuses.
fn refused(arguments: &str) -> String {
    let output = run(DUPLEX, arguments);
    assert_eq!(output.status.code(), Some(125), "{arguments}");
    String::from_utf8(output.stderr).unwrap()
}

fn networks() -> serde_json::Value {
    serde_json::from_str(&said(DUPLEX, "network ls --json")).unwrap()
}

/// Everything that a network could leave behind.
fn everything() -> [String; 3] {
    [said("ip", "-br link"), said("ip", "-br addr"), said("nft", "list ruleset")]
}

#[test]
fn a_network_is_made_shown_and_removed_without_a_trace() {
    in_namespace(|| {
        let before = everything();
        let made = run(DUPLEX, "network create dx --ports 2 --user nobody --mtu 9000");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let hint = String::from_utf8(made.stderr).unwrap();
        assert!(hint.contains("--net tap=dxp0"), "{hint}");
        assert!(hint.contains("sysctl -w net.ipv4.ip_forward=1"), "{hint}");
        let port = |name: &str| serde_json::json!({"tap": name, "used": false});
        let expected = serde_json::json!([{
            "name": "dx", "subnet": "10.87.0.0/24", "gateway": "10.87.0.1", "nat": true,
            "ports": [port("dxp0"), port("dxp1")], "instances": [],
        }]);
        assert_eq!(networks(), expected);
        assert!(said("ip", "addr show dx").contains("inet 10.87.0.1/24 brd 10.87.0.255"));
        let tap = said("ip", "-d link show dxp1");
        assert!(tap.contains("mtu 9000") && tap.contains("master dx"), "{tap}");
        assert!(tap.contains("persist on") && tap.contains("user nobody"), "{tap}");
        assert!(said("nft", "list ruleset").contains("masquerade"));
        // Once more changes nothing; more ports are added.
        let all = everything();
        said(DUPLEX, "network create dx --ports 2 --mtu 9000");
        assert_eq!(everything(), all);
        said(DUPLEX, "network create dx --ports 3");
        assert_eq!(networks()[0]["ports"].as_array().unwrap().len(), 3);
        said(DUPLEX, "network rm dx");
        assert_eq!(everything(), before);
    });
}

#[test]
fn what_cannot_be_is_refused_with_a_remedy_and_leaves_nothing() {
    in_namespace(|| {
        said("ip", "link add mine type bridge");
        said("ip", "addr add 10.87.0.9/16 dev mine");
        let before = everything();
        for (arguments, words) in [
            ("network create mine", "that duplex did not make"),
            ("network create dx", "give one with --subnet"),
            (
                "network create dx --subnet 10.87.7.0/24",
                "overlaps with 10.87.0.0/16 of interface mine",
            ),
            ("network create 0x", "is no name of a network"),
            ("network create dx;reboot", "is no name of a network"),
            ("network create twelve-chars", "is no name of a network"),
            ("network rm mine", "that duplex did not make"),
            ("network rm dx", "'duplex network ls', as root, shows"),
            ("network create dx --user nobody-at-all", "no user nobody-at-all"),
        ] {
            let stderr = refused(arguments);
            assert!(stderr.contains(words), "{arguments}: {stderr}");
            assert_eq!(everything(), before, "{arguments}");
        }
        said(DUPLEX, "network create dx --subnet 192.168.77.0/24 --no-nat");
        assert!(!said("nft", "list ruleset").contains("masquerade"));
        let other = refused("network create dx --subnet 192.168.78.0/24");
        assert!(other.contains("network dx has 192.168.77.0/24"), "{other}");
        // A tap's name is somebody's: what was made until then goes.
        said("ip", "link add d2p1 type bridge");
        let before = everything();
        said(DUPLEX, "network create d2 --ports 2 --subnet 192.168.79.0/24");
        assert_eq!(networks().as_array().unwrap().len(), 2);
        said(DUPLEX, "network rm dx d2");
        assert_ne!(everything(), before);
        assert!(said("ip", "link").contains("d2p1"), "what others made stays");
    });
}

#[test]
fn a_network_in_use_is_not_removed_by_mistake() {
    in_namespace(|| {
        said(DUPLEX, "network create dx --no-nat");
        let tap = duplex::vm::devices::virtio::net::tap::Tap::open("dxp0", None).unwrap();
        // The kernel tells of a carrier in its own time.
        while networks()[0]["ports"][0]["used"] != true {
            thread::yield_now();
        }
        assert!(refused("network rm dx").contains("network dx is in use: end the VM on tap dxp0"));
        said(DUPLEX, "network rm --force dx");
        drop(tap);
        assert_eq!(networks(), serde_json::json!([]));
    });
}

#[test]
fn an_interrupted_command_leaves_nothing_to_the_next() {
    in_namespace(|| {
        let before = everything();
        let every = if soak() { 1 } else { 7 };
        for after in (0..100).step_by(every) {
            let killed = interrupted("network create dx --ports 3", after);
            let left = networks();
            if killed {
                // Either it was complete, or it is gone.
                assert!(
                    left == serde_json::json!([]) || left[0]["ports"][2]["tap"] == "dxp2",
                    "{left}"
                );
            }
            if left == serde_json::json!([]) {
                assert_eq!(everything(), before, "killed after {after}");
                said(DUPLEX, "network create dx --ports 3");
            }
            interrupted("network rm dx", after);
            if networks() != serde_json::json!([]) {
                said(DUPLEX, "network rm dx");
            }
            assert_eq!(everything(), before, "killed after {after}");
        }
    });
}

/// Runs a command that dies by SIGKILL when it has begun or ended so many system calls that change or
/// ask the kernel's network; whether it did.
fn interrupted(arguments: &str, after: u32) -> bool {
    let mut command = Command::new(DUPLEX);
    command.args(arguments.split(' ')).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: a single system call.
    unsafe {
        command.pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    let mut child = command.spawn().unwrap();
    let pid = libc::pid_t::try_from(child.id()).unwrap();
    let mut left = after;
    let killed = loop {
        let mut status = 0;
        // SAFETY: the child is this test's own, and stopped or about to stop.
        unsafe { libc::waitpid(pid, &raw mut status, 0) };
        if !libc::WIFSTOPPED(status) {
            break libc::WIFSIGNALED(status);
        }
        // SAFETY: any bits are registers.
        let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        // SAFETY: the child is stopped, and the kernel fills what was just made.
        unsafe { libc::ptrace(libc::PTRACE_GETREGS, pid, 0, &raw mut registers) };
        let call = registers.orig_rax.cast_signed();
        if libc::WSTOPSIG(status) == libc::SIGTRAP
            && [libc::SYS_sendto, libc::SYS_ioctl, libc::SYS_execve].contains(&call)
        {
            if left == 0 {
                child.kill().unwrap();
            }
            left = left.saturating_sub(1);
        }
        // SAFETY: as above.
        unsafe { libc::ptrace(libc::PTRACE_SYSCALL, pid, 0, 0) };
    };
    // Its end was taken already.
    let _ = child.wait();
    killed
}
