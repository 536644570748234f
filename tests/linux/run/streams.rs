//! Streams and surroundings of a command without a terminal.

use std::io::Write;
use std::process::Stdio;

use super::{command, end_of, said, shell};
use crate::common::image;
use crate::common::process::Process;
use crate::common::{soak, text};
use crate::guest::in_emulation;

#[test]
fn output_and_errors_stay_apart() {
    in_emulation(&"output and errors", || {
        let output = end_of(shell(&[], "echo out; echo err >&2; [ -t 0 ] || echo no terminal"));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "out\nno terminal\n");
        assert!(String::from_utf8_lossy(&output.stderr).ends_with("err\n"));
    });
}

#[test]
fn a_pipe_passes_both_ways_byte_for_byte() {
    let size = if soak() { 100 << 20 } else { 4 << 20 };
    in_emulation(&"a pipe both ways", || {
        // Every byte value, without a period that a buffer could have.
        let sent: Vec<u8> =
            (0..size).map(|n: u32| (n ^ n >> 8 ^ n >> 15).to_le_bytes()[0]).collect();
        let mut cat = command(&["-i"], &["cat"]);
        let mut process = Process::start(cat.stdin(Stdio::piped()));
        let mut stdin = process.take_stdin();
        let data = sent.clone();
        let writer = std::thread::spawn(move || stdin.write_all(&data));
        let output = process.output();
        writer.join().unwrap().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(output.stdout.len(), sent.len());
        assert!(output.stdout == sent);
    });
}

#[test]
fn without_i_there_is_no_input() {
    in_emulation(&"no input", || {
        let mut cat = shell(&[], "cat; echo end");
        let mut process = Process::start(cat.stdin(Stdio::piped()));
        let mut stdin = process.take_stdin();
        let _ = stdin.write_all(b"for nobody\n");
        // Not closed: the command must not wait for it.
        let output = process.output();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "end\n");
        drop(stdin);
    });
}

#[test]
fn a_reader_that_goes_away_ends_the_writer() {
    in_emulation(&"a broken pipe", || {
        let mut process = Process::start(&mut shell(&[], "while echo y; do :; done; echo $? >&2"));
        process.stdout.wait_for("y\n");
        process.stdout.close();
        // SIGPIPE, or an error for who ignores that.
        assert!(matches!(process.end().code(), Some(0 | 141)));
    });
}

#[test]
fn the_surroundings_are_those_asked_for() {
    in_emulation(&"surroundings", || {
        let options = [
            "--name",
            "web",
            "-e",
            "A=1 2",
            "-e",
            "NOT_THERE",
            "-w",
            "/made/here",
            "-u",
            "ann",
            "--cpus",
            "2",
        ];
        let script = "id; pwd; hostname; echo \"$A|$HOME|$PATH|${NOT_THERE-none}\"; \
                      grep -c ^processor /proc/cpuinfo; touch mine 2>&1; echo $?";
        let (text, status) = said(shell(&options, script));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "uid=1000(ann) gid=100(users) groups=29(audio),100(users)");
        assert_eq!(lines[1..3], ["/made/here", "web"]);
        assert!(lines[3].starts_with("1 2|/home/ann|/usr/local/sbin:"), "{text}");
        assert!(lines[3].ends_with("|none"), "{text}");
        // Made by root: docker does the same.
        assert_eq!(lines[4..], ["2", "touch: mine: Permission denied", "1"], "{text}");
        assert_eq!(status, Some(0));
        let numbers = said(command(&["-u", "7:8"], &["id"])).0;
        assert_eq!(numbers, "uid=7 gid=8 groups=8\n");
    });
}

#[test]
fn the_root_can_be_written_to_and_the_image_stays_as_it_is() {
    in_emulation(&"the root", || {
        let script = "echo changed > /etc/group; echo new > /new; cat /etc/group /new; \
                      stat -c %a /tmp; mount | grep -c -e ' /proc ' -e ' /sys ' -e ' /dev/pts '; \
                      ps | grep -c '[g]uest-init'";
        let (text, _) = said(shell(&[], script));
        assert_eq!(text, "changed\nnew\n1777\n3\n1\n");
        let image = image::busybox();
        assert!(std::fs::read_to_string(image.join("etc/group")).unwrap().starts_with("root"));
        assert!(!image.join("new").exists());
        let (text, status) = said(command(&[], &["cat", "/new"]));
        assert_eq!((text.as_str(), status), ("", Some(1)));
    });
}

#[test]
fn kept_changes_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let layer = directory.path().join("layer");
    let keep = ["--keep", text(&layer)];
    in_emulation(&"kept changes", || {
        let _ = std::fs::remove_file(&layer);
        assert_eq!(said(shell(&keep, "echo kept > /file; exit 3")).1, Some(3));
        assert_eq!(said(command(&keep, &["cat", "/file"])), ("kept\n".into(), Some(0)));
        // Of another guest nothing.
        assert_eq!(said(command(&[], &["cat", "/file"])).1, Some(1));
    });
}
