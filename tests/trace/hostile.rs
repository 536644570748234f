//! Files that are no traces, or not whole, and places where none can be written.

use std::path::Path;

use crate::common::process::output;
use crate::common::{duplex, temporary_file, text, tiny_kernel};
use crate::golden::trace;

/// The exit status, and what is said of a file.
fn said(path: &Path) -> (Option<i32>, String) {
    let output = output(&mut duplex(&["trace", "show", text(path)]));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() || output.stdout.is_empty());
    (output.status.code(), stderr)
}

fn refused(content: &[u8], why: &str) {
    let (_directory, path) = temporary_file("a.trace", content);
    let (status, stderr) = said(&path);
    assert_eq!(status, Some(125), "{why}: {stderr}");
    assert!(stderr.contains(why) && stderr.contains("a.trace"), "{why}: {stderr}");
    for format in ["chrome", "perfetto", "folded"] {
        let exported = output(&mut duplex(&["trace", "export", text(&path), "--format", format]));
        assert_eq!(exported.status.code(), Some(125));
    }
}

#[test]
fn a_file_that_is_no_trace_is_refused_with_the_reason() {
    let header = b"duplextr\x01\0\0\0\x10\0\0\0";
    refused(b"", "it is no trace");
    refused(b"duplextr", "it is no trace");
    refused(&[0xFF; 4096], "it is no trace");
    refused(b"duplextr\x02\0\0\0\x10\0\0\0", "it has version 2");
    let with = |block: &[u8]| [header, block].concat();
    refused(&with(b"\x04\0\0\0\xFF\xFF\xFF\xFF"), "a block of 4294967295 bytes");
    refused(&with(b"\x01\0\0\0\x02\0\0\0[]"), "a block is not what it says");
    refused(&with(b"\x04\0\0\0\x02\0\0\0\0\0"), "a block of events without a header");
    let nobody = [&b"\x04\0\0\0\x10\0\0\0\x07\0\0\0\x40\0\0\0"[..], &[0; 8]].concat();
    refused(&with(&nobody), "events of nobody who was named before");
    let devices = br#"{"ports":[],"mapped":[{"name":"a","start":9,"size":9,"registers":{}},{"name":"b","start":9,"size":9,"registers":{}}]}"#;
    let length = u32::try_from(devices.len()).unwrap().to_le_bytes();
    refused(&with(&[b"\x02\0\0\0", &length[..], devices].concat()), "devices that no machine has");
}

#[test]
fn of_a_trace_that_is_cut_off_the_rest_is_shown() {
    let (_files, path, _) = trace();
    let whole = std::fs::read(&path).unwrap();
    for length in [16, 17, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let (status, stderr) = said(&path);
        assert_eq!(status, Some(0), "{length}: {stderr}");
        assert!(stderr.contains("it is cut off"), "{length}: {stderr}");
    }
    // A block of a kind that a later version may have is passed over.
    let unknown = [&whole[..16], b"\x63\0\0\0\x03\0\0\0abc", &whole[16..]].concat();
    std::fs::write(&path, unknown).unwrap();
    assert_eq!(said(&path), (Some(0), String::new()));
}

#[test]
fn damage_anywhere_ends_in_an_answer() {
    let (_files, path, _) = trace();
    let whole = std::fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x80;
        std::fs::write(&path, damaged).unwrap();
        let (status, stderr) = said(&path);
        assert!(matches!(status, Some(0 | 125)), "byte {at}: {stderr}");
    }
}

#[test]
fn names_in_a_file_do_nothing_to_a_terminal() {
    let (_files, path, _) = trace();
    let whole = std::fs::read(&path).unwrap();
    let at = whole.windows(6).position(|window| window == b"serial").unwrap();
    let hostile = [&whole[..at], br"\u001b", &whole[at + 6..]].concat();
    std::fs::write(&path, hostile).unwrap();
    let shown = output(&mut duplex(&["trace", "show", text(&path)]));
    assert!(!shown.stdout.contains(&0x1B) && !shown.stderr.contains(&0x1B));
}

#[test]
fn nothing_but_a_trace_is_overwritten() {
    let (_directory, path) = temporary_file("notes.txt", b"mine\n");
    let refuse = |path: &Path, why: &str| {
        let kernel = tiny_kernel::elf(tiny_kernel::POWER_OFF);
        let (_directory, kernel) = temporary_file("kernel", &kernel);
        let mut command = duplex(&["boot", "--testbed", "never", "--kernel"]);
        command.arg(kernel).arg("--trace");
        let output = output(command.arg(path));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{stderr}");
        assert!(stderr.contains(why), "{stderr}");
    };
    refuse(&path, "it is there and is no trace");
    assert_eq!(std::fs::read(&path).unwrap(), b"mine\n");
    refuse(Path::new("/nowhere/a.trace"), "give a file in a directory that you can write to");
    refuse(Path::new("/dev/null"), "it is there and is no trace");
    refuse(path.parent().unwrap(), "--trace");
}
