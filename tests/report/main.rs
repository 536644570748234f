//! A report as its readers have it: in a browser, at a desk and in a hand, in light and dark.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../samples/bench_results.rs"]
mod sample;

use std::path::{Path, PathBuf};
use std::process::Command;

use duplex::bench;
use duplex::bench::report;
use duplex::bench::results::Results;

use common::{empty_directory, find_program, say, text};

/// The directory of this test, where its script and what it needs from npm lie.
fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report")
}

/// Whether there is a browser, and what drives it; says so where there is not.
fn has_browser() -> bool {
    let missing = [
        ("chromium", find_program("chromium")),
        ("node", find_program("node")),
        ("tests/report/node_modules", here().join("node_modules/puppeteer-core").exists()),
    ];
    let missing: Vec<_> =
        missing.iter().filter(|(_, there)| !there).map(|(name, _)| *name).collect();
    if !missing.is_empty() {
        say(&format!("SKIPPED: {} is not there (make browser)", missing.join(", ")));
    }
    missing.is_empty()
}

/// Looks at a report in the browser; panics with what is wrong. Pictures of it are left beside it.
fn look_at(results: &Results, name: &str) {
    let directory = empty_directory(name);
    report::write(results, &directory).unwrap();
    let mut command = Command::new("node");
    command.arg(here().join("browser.mjs")).arg(directory.join("report.html"));
    let output = command.arg(directory.join("pictures")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}:\n{said}", text(&directory));
}

#[test]
fn a_report_is_read_at_a_desk_and_in_a_hand_in_light_and_dark() {
    if has_browser() {
        look_at(&sample::results(), "report");
    }
}

#[test]
fn hostile_data_do_nothing_in_a_browser() {
    if has_browser() {
        look_at(&sample::hostile(), "report-hostile");
    }
}
