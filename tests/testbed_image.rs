//! Where virtiofsd can't run, single commands run from a disk image.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests fail by panicking")]

mod common;

use std::fs;
use std::process::{Command, Output};

use common::has_testbed;
use common::process;
use common::testbed::state_directory;

/// Runs a script in a place without namespaces to be had: in a user namespace that allows no
/// others, without capabilities.
fn without_namespaces(script: &str) -> Option<Output> {
    let confined = format!(
        "echo 0 > /proc/sys/user/max_user_namespaces && \
         exec setpriv --inh-caps=-all --bounding-set=-all sh -c '{script}'"
    );
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", &confined]);
    command.env("duplex", env!("CARGO_BIN_EXE_duplex"));
    command.env("XDG_RUNTIME_DIR", state_directory("testbed-image"));
    let output = process::output(&mut command);
    let message = String::from_utf8_lossy(&output.stderr);
    if message.contains("unshare failed") || message.contains("max_user_namespaces") {
        common::say(&format!("SKIPPED: no user namespace to take the rights away in: {message}"));
        return None;
    }
    Some(output)
}

#[test]
fn a_command_runs_from_an_image_and_its_files_come_back() {
    if !has_testbed() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::write(path("input"), "in").unwrap();
    fs::write(path("output"), "old").unwrap();
    fs::create_dir(path("directory")).unwrap();
    fs::write(path("directory/member"), "member").unwrap();
    let script = format!(
        "cd {} && \"$duplex\" testbed run --write output --input input --input directory -- \
         sh -c \"read a <input; read b <directory/member; echo \\$a \\$b >output; exit 4\"",
        place.path().display()
    );
    let Some(output) = without_namespaces(&script) else { return };
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{message}");
    assert!(message.contains("using a disk image of what the command needs"), "{message}");
    assert_eq!(fs::read_to_string(path("output")).unwrap(), "in member\n");
    let left = fs::read_dir(state_directory("testbed-image").join("duplex")).unwrap();
    assert!(left.flatten().all(|entry| entry.file_name() == "lock"));
}

#[test]
fn what_an_image_cannot_do_is_refused() {
    if !has_testbed() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let script = format!("\"$duplex\" testbed run --write {} -- true", place.path().display());
    let Some(output) = without_namespaces(&script) else { return };
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{message}");
    assert!(message.contains("a directory can't be written to from a disk image"), "{message}");
    let Some(output) = without_namespaces("\"$duplex\" testbed start") else { return };
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{message}");
    assert!(message.contains("single commands work"), "{message}");
}
