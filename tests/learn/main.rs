//! The lessons on this host's `/dev/kvm`: their stories, questions and exercises, and hostile guests.
//!
//! The stories stand in `tests/golden/learn`: `UPDATE_GOLDEN=1 cargo test --test learn` writes them anew, and
//! the difference shows what a change does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod containers;
mod exercises;
mod hostile;
mod questions;
mod stories;

use std::path::Path;
use std::process::Output;

use common::process::output;
use common::{duplex, temporary_file, text};

/// What the command says, with its status.
fn learn(arguments: &[&str]) -> (i32, String, String) {
    let all: Vec<&str> = [&["learn"], arguments, &["--testbed", "never"]].concat();
    let Output { status, stdout, stderr } = output(&mut duplex(&all));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().expect("no signal ends it"), text(stdout), text(stderr))
}

/// A lesson's source.
fn source(lesson: &str) -> String {
    let (status, source, _) = learn(&[lesson, "--source"]);
    assert_eq!(status, 0);
    source
}

/// The source with some of its text replaced, which must be there.
fn changed(lesson: &str, edits: &[(&str, &str)]) -> String {
    edits.iter().fold(source(lesson), |source, (from, to)| {
        assert!(source.contains(from), "{lesson} has no {from:?}");
        source.replacen(from, to, 1)
    })
}

/// Runs the command on a file with this content.
fn with_file(lesson: &str, option: &str, content: &[u8]) -> (i32, String, String) {
    let (_directory, path) = temporary_file("my.s", content);
    learn(&[lesson, option, text(Path::new(&path))])
}
