//! Each namespace, from inside and from outside.

use std::fs;

use nix::unistd::Pid;

use crate::common::containers::{has_containers, said, shell};
use crate::common::process::Process;

const NAMESPACES: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

/// The children of a process.
fn children(of: Pid) -> Vec<Pid> {
    let list = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap();
    list.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect()
}

fn field(of: Pid, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{of}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim().to_owned()
}

#[test]
fn every_namespace_is_its_own() {
    if !has_containers() {
        return;
    }
    let inside = said(shell(&[], "cd /proc/self/ns; for n in *; do readlink $n; done"));
    for name in NAMESPACES {
        let outside = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        let outside = outside.to_str().unwrap().to_owned();
        let kind = format!("{name}:[");
        let own = inside.lines().find(|line| line.starts_with(&kind)).unwrap();
        assert_ne!(own, outside);
    }
}

#[test]
fn inside_there_is_nothing_else() {
    if !has_containers() {
        return;
    }
    // SAFETY: makes a segment of shared memory that nobody attaches; it is removed below.
    let segment = unsafe { libc::shmget(libc::IPC_PRIVATE, 4096, 0o600) };
    let script = "hostname; cat /etc/hostname; ls /sys/class/net; wc -l < /proc/sysvipc/shm; \
                  ps | wc -l; id -u; cut -d. -f1 /proc/uptime";
    let text = said(shell(&["--name", "own"], script));
    // SAFETY: removes what was made above.
    unsafe { libc::shmctl(segment, libc::IPC_RMID, std::ptr::null_mut()) };
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[..3], ["own", "own", "lo"], "{text}");
    // A heading each; PID 1, the shell, ps and wc.
    assert_eq!(lines[3..6], ["1", "5", "0"], "{text}");
    assert!(lines[6].parse::<u32>().unwrap() < 60, "{text}");
}

#[test]
fn outside_its_root_is_nobody() {
    if !has_containers() {
        return;
    }
    let mut process = Process::start(&mut shell(&[], "echo up; sleep 1000"));
    process.stdout.wait_for("up\n");
    let pid1 = children(process.pid())[0];
    let command = children(pid1)[0];
    for pid in [pid1, command] {
        for ids in [field(pid, "Uid"), field(pid, "Gid")] {
            let ids: Vec<u32> = ids.split_whitespace().map(|id| id.parse().unwrap()).collect();
            let own = nix::unistd::geteuid();
            let expected = |id: &u32| *id >= 1 << 16 || !own.is_root() && *id == own.as_raw();
            assert!(ids.iter().all(expected), "{ids:?}");
        }
        assert_eq!(field(pid, "NoNewPrivs"), "1");
    }
    assert_eq!(field(command, "NSpid").split_whitespace().last(), Some("2"));
}

#[test]
fn no_path_leads_to_the_host() {
    if !has_containers() {
        return;
    }
    let here = env!("CARGO_MANIFEST_DIR");
    let script = format!(
        "cd ../../../..; pwd; ls -d {here} 2>&1; cat /proc/1/environ 2>&1; ls /proc/1/root/ 2>&1; \
         ls -l /proc/1/exe 2>&1 | grep -c duplex; ls /proc/1/fd 2>&1; tr '\\0' ' ' < /proc/1/cmdline; \
         echo; ls /proc/self/fd | wc -l; cut -d' ' -f5 /proc/self/mountinfo | head -1"
    );
    let output = crate::common::containers::end_of(shell(&[], &script));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "/", "{text}");
    assert_eq!(lines[1], format!("ls: {here}: No such file or directory"), "{text}");
    assert!(lines[2].ends_with("Permission denied"), "{text}");
    assert!(lines[3].ends_with("Permission denied"), "{text}");
    assert_eq!(lines[4], "0", "{text}");
    assert!(lines[5].ends_with("Permission denied"), "{text}");
    assert_eq!(lines[6].trim(), "duplex-init", "{text}");
    // The standard streams, and the directory that ls reads.
    assert_eq!(lines[7..], ["4", "/"], "{text}");
}
