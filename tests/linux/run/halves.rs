//! The same command lines in both halves: in a VM in the testbed, and in a container on this host. What
//! the caller sees must be the same. What is meant to differ stands in docs/container.md.

use std::process::{Command, Output};

use super::command;
use crate::common::process::Process;
use crate::common::{containers, say, text};
use crate::guest::in_emulation;

/// A command line: what it is about, options, and a script.
type Case = (&'static str, &'static [&'static str], &'static str);

const CASES: [Case; 27] = [
    ("output", &[], "echo out; echo err >&2"),
    ("a status", &[], "exit 7"),
    ("the largest status", &[], "exit 255"),
    ("a signal", &[], "kill -9 $$"),
    ("a signal that can be caught", &[], "kill -TERM $$"),
    ("a hang-up", &[], "kill -HUP $$"),
    ("a real-time signal", &[], "kill -34 $$"),
    ("signals are let in", &[], "grep -e SigBlk -e SigIgn /proc/self/status"),
    ("the environment", &["-e", "A=1 2", "-e", "EMPTY=", "-e", "NOT_THERE"], "env"),
    (
        "a working directory that is made",
        &["-w", "/made/here"],
        "pwd; ls -ld . ..| awk '{print $1,$3}'",
    ),
    ("a user by name", &["-u", "ann"], "id; echo $HOME; touch /x"),
    ("a user by number", &["-u", "7:8"], "id; echo $HOME"),
    ("an unknown user", &["-u", "eve"], "true"),
    ("an unknown group", &["-u", "ann:eve"], "true"),
    ("a name", &["--name", "twin"], "hostname; cat /etc/hostname /etc/hosts; echo $HOSTNAME"),
    ("no network", &[], "ls /sys/class/net; cat /etc/resolv.conf"),
    ("no input", &[], "cat; tty"),
    ("input", &["-i"], "wc -c"),
    (
        "a root that can be written to",
        &[],
        "echo x >/y && rm -r /root && mkdir /root && ls -a / /root",
    ),
    (
        "memory to write to",
        &[],
        "for d in /tmp /dev/shm; do echo x >$d/y; stat -c '%a %U' $d; done",
    ),
    (
        "devices",
        &[],
        "head -c 3 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c; echo >/dev/full; echo $?",
    ),
    (
        "no more processes than allowed",
        &["--pids-limit", "12"],
        "n=0; while [ $n -lt 30 ]; do sleep 100 & n=$((n+1)); done; echo $n",
    ),
    (
        "resource limits",
        &["--ulimit", "nofile=30:40", "--ulimit", "core=0", "-u", "ann"],
        "ulimit -n; ulimit -Hn; ulimit -c",
    ),
    (
        "memory at paths",
        &["--tmpfs", "/run/a:size=1M,mode=700", "--tmpfs", "/run", "--shm-size", "2M"],
        "stat -c '%a %U' /run /run/a; df /run/a /dev/shm | awk 'NR > 1 {print $2, $6}'
         dd if=/dev/zero of=/run/a/x bs=64k count=17 2>&1 | grep space; cp /bin/true /run/true; /run/true",
    ),
    (
        "a root that cannot be written to",
        &["--read-only", "--tmpfs", "/run"],
        "for d in / /root /etc /tmp /run /dev/shm /bin/../root; do touch $d/x && echo $d; done",
    ),
    ("a working directory that cannot be made", &["--read-only", "-w", "/made"], "pwd"),
    ("what is left running", &[], "sleep 1000 & sleep 1000 & echo end"),
];

/// What the caller sees.
fn seen(mut command: Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = Process::start(&mut command).output();
    let stderr = String::from_utf8_lossy(&stderr).into_owned();
    // Where it runs, and what takes its time, only a VM has to tell.
    let vms = ["running in the testbed", "making a disk of the image"];
    let said = stderr.lines().filter(|line| !vms.iter().any(|own| line.contains(own)));
    let said: Vec<&str> = said.collect();
    (status.code(), String::from_utf8_lossy(&stdout).into_owned(), said.join("\n"))
}

/// With a name: those that are given none get a random one, and their commands see it.
fn named<'a>(options: &[&'a str]) -> Vec<&'a str> {
    if options.contains(&"--name") {
        return options.to_vec();
    }
    [options, &["--name", "named"]].concat()
}

fn same(about: &str, options: &[&str], argv: &[&str]) {
    in_emulation(&about, || {
        let vm = seen(command(options, argv));
        let container = seen(containers::command(options, argv));
        assert_eq!(vm, container, "{about}");
    });
}

#[test]
fn both_halves_are_the_same_to_the_caller() {
    if !containers::has_containers() || !nix::unistd::geteuid().is_root() {
        say("SKIPPED: containers with several users need root");
        return;
    }
    for (about, options, script) in CASES {
        same(about, &named(options), &["sh", "-c", script]);
    }
    same("a missing command", &[], &["nonesuch"]);
    same("a file that is no program", &[], &["/etc/passwd"]);
    same("a directory", &[], &["/bin"]);
    let shared = tempfile::tempdir().unwrap();
    std::fs::write(shared.path().join("in"), "in\n").unwrap();
    for (about, more) in [("a volume", ""), ("a volume that is read-only", ":ro")] {
        let volume = format!("{}:/made/data{more}", text(shared.path()));
        let script =
            "cat /made/data/in; echo out >/made/data/out; ls /made/data; rm -f /made/data/out";
        same(about, &named(&["-v", &volume]), &["sh", "-c", script]);
    }
}
