//! A report as its readers have it: in a browser, at a desk and in a hand, in light and dark.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../samples/bench_results.rs"]
mod sample;

use std::process::Command;

use duplex::bench;
use duplex::bench::report;
use duplex::bench::results::Results;

use common::browser::{has_browser_and, of_project};
use common::{duplex, empty_directory, text};

/// Whether there is a browser, and what looks at a page for those who cannot; says so where there is not.
fn has_browser() -> bool {
    has_browser_and("tests/report/node_modules/axe-core")
}

/// Looks at a report in the browser; panics with what is wrong. Pictures of it are left beside it.
fn look_at(results: &Results, name: &str) {
    let directory = empty_directory(name);
    report::write(results, &directory).unwrap();
    let mut command = Command::new("node");
    command.arg(of_project("tests/report/browser.mjs")).arg(directory.join("report.html"));
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

/// Two reports as files, and what duplex says of them.
fn compared(before: &Results, after: &Results, options: &[&str]) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().unwrap();
    let paths = [("a", before), ("b", after)].map(|(name, results)| {
        let path = directory.path().join(name);
        std::fs::write(&path, serde_json::to_string(results).unwrap()).unwrap();
        path
    });
    let mut command = duplex(&["bench", "compare"]);
    let output = command.args(options).args(&paths).env("LC_ALL", "C").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn compare_ends_with_what_a_script_wants_to_know() {
    let before = sample::results();
    let slower = sample::slower(1.0, &[("duplex-container", 1.3)], 6);
    let (status, said) = compared(&before, &before, &[]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.ends_with("not changed beyond noise.\n") && said.is_ascii(), "{said}");
    let (status, said) = compared(&before, &slower, &[]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("WORSE: start.host.warm, first byte of duplex-container"), "{said}");
    assert!(said.lines().all(|line| line.len() <= 80), "{said}");
    assert_eq!(compared(&before, &slower, &["--tolerance", "50"]).0, Some(0));
    let (status, said) = compared(&before, &slower, &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    let changes = json["changes"].as_array().unwrap();
    assert!(status == Some(1) && changes.iter().any(|change| change["verdict"] == "worse"));
}

#[test]
fn reports_are_shown_and_drawn_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report.json");
    std::fs::write(&path, serde_json::to_string(&sample::results()).unwrap()).unwrap();
    let run = |arguments: &[&str]| {
        let output = duplex(&["bench"]).args(arguments).env("LC_ALL", "C.UTF-8").output().unwrap();
        let said =
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said)
    };
    let (status, said) = run(&["report", text(&path)]);
    assert!(
        status == Some(0) && said.contains("What textbooks claim") && !said.contains('\x1b'),
        "{said}"
    );
    let again = directory.path().join("again");
    assert_eq!(run(&["report", text(&path), "--out", text(&again)]), (Some(0), String::new()));
    assert_eq!(std::fs::read_dir(&again).unwrap().count(), 3);
    let (status, said) = run(&["report", text(&path), "--out", text(&again)]);
    assert!(status == Some(125) && said.contains("not empty"), "{said}");
    let (status, picture) = run(&["plot", text(&path)]);
    assert!(status == Some(0) && picture.starts_with("<svg"));
    let file = directory.path().join("start.svg");
    assert_eq!(run(&["plot", text(&path), "--out", text(&file)]), (Some(0), String::new()));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), picture);
}

#[test]
fn what_is_no_report_ends_with_125_and_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("no\x1b[2Jreport.json");
    std::fs::write(&path, "{\"schema\": 1, \"duplex\": NaN}").unwrap();
    let path = text(&path);
    for arguments in [
        &["compare", path, path][..],
        &["report", path],
        &["plot", path],
        &["compare", path, "/dev/zero"],
    ] {
        let output = duplex(&["bench"]).args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(125), 1), "{said}");
        assert!(said.contains("is no report of duplex bench") && !said.contains('\x1b'), "{said}");
        assert!(output.stdout.is_empty());
    }
}
