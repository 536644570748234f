//! Streams and surroundings of a command.

use std::io::Write;
use std::process::Stdio;

use crate::common::containers::{command, end_of, has_containers, said, shell};
use crate::common::process::Process;
use crate::common::soak;

#[test]
fn output_and_errors_stay_apart() {
    if !has_containers() {
        return;
    }
    let output = end_of(shell(&[], "echo out; echo err >&2; [ -t 0 ] || echo no terminal"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "out\nno terminal\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "err\n");
}

#[test]
fn a_pipe_passes_both_ways_byte_for_byte() {
    if !has_containers() {
        return;
    }
    let size = if soak() { 100 << 20 } else { 16 << 20 };
    let sent: Vec<u8> = (0..size).map(|n: u32| (n ^ n >> 8 ^ n >> 15).to_le_bytes()[0]).collect();
    let mut cat = command(&["-i"], &["cat"]);
    let mut process = Process::start(cat.stdin(Stdio::piped()));
    let mut stdin = process.take_stdin();
    let data = sent.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&data));
    let output = process.output();
    writer.join().unwrap().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout == sent);
}

#[test]
fn the_surroundings_are_those_asked_for() {
    if !has_containers() {
        return;
    }
    let options = ["--name", "web", "-e", "A=1 2", "-e", "NOT_THERE", "-w", "/made/here"];
    let script = "id -u; pwd; hostname; echo \"$A|$HOME|$PATH|${NOT_THERE-none}\"; env | wc -l";
    let text = said(shell(&options, script));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[..3], ["0", "/made/here", "web"], "{text}");
    assert!(lines[3].starts_with("1 2|/root|/usr/local/sbin:"), "{text}");
    assert!(lines[3].ends_with("|none"), "{text}");
    // PATH, HOSTNAME, HOME and A; PWD and SHLVL are the shell's.
    assert_eq!(lines[4], "6", "{text}");
}

#[test]
fn as_root_there_are_other_users() {
    if !has_containers() || !nix::unistd::geteuid().is_root() {
        return;
    }
    let by_name = said(command(&["-u", "ann"], &["id"]));
    assert_eq!(by_name, "uid=1000(ann) gid=100(users) groups=29(audio),100(users)\n");
    assert_eq!(said(command(&["-u", "7:8"], &["id"])), "uid=7 gid=8 groups=8\n");
}
