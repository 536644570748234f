//! Attempts to get out, `examples/escape.rs`. Each fails.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

use crate::common::containers::{command, end_of, has_containers};
use crate::common::text;

/// Where cargo has put the example, beside the tests.
fn attempts() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().join("examples/escape")
}

/// A directory with it alone, as a volume.
fn volume() -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    fs::copy(attempts(), directory.path().join("escape")).unwrap();
    let volume = format!("{}:/attempts:ro", text(directory.path()));
    (directory, volume)
}

#[test]
fn every_attempt_is_held() {
    if !has_containers() {
        return;
    }
    let (_directory, volume) = volume();
    let marker = tempfile::NamedTempFile::new().unwrap();
    let name = format!("duplex-escape-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let options = ["-v", &volume, "--pids-limit", "20", "--memory", "64M"];
    let list = end_of(command(&options, &["/attempts/escape", "list"]));
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.lines().count() >= 25, "{list}");
    let mut got_out = Vec::new();
    for attempt in list.lines() {
        let argument = match attempt {
            "abstract-socket" => name.as_str(),
            _ => text(marker.path()),
        };
        let output = end_of(command(&options, &["/attempts/escape", attempt, argument]));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.code() != Some(1) || !said.starts_with("held: ") {
            got_out.push(format!("{attempt}: {} {said}", output.status));
        }
    }
    assert!(got_out.is_empty(), "{}", got_out.join("\n"));
}
