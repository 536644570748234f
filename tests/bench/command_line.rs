//! `duplex bench start` as it is called.

use std::fs;
use std::process::{Command, Output, Stdio};

use duplex::bench::results::{Results, SCHEMA};
use nix::sys::signal::Signal;

use crate::common::process::Process;
use crate::common::{duplex, empty_directory, text};

/// `duplex bench start` among plain processes.
fn bench(arguments: &[&str]) -> Command {
    let mut command = duplex(&["bench", "start", "--testbed", "never", "--only", "process"]);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn end_of(arguments: &[&str]) -> (Output, String) {
    let output = Process::start(&mut bench(arguments)).output();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, said)
}

#[test]
fn a_run_is_one_document() {
    let (output, said) = end_of(&["--runs", "4", "--seed", "7", "--json"]);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("seed 7"), "{said}");
    let results: Results = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((results.schema, results.seed, results.runs), (SCHEMA, 7, 4));
    assert!(results.complete && results.contenders.iter().any(|one| one.id == "process"));
    assert!(results.host.iter().any(|fact| fact.name == "kernel" && fact.value.contains("Linux")));
    let ids: Vec<&str> = results.tables.iter().map(|table| table.id.as_str()).collect();
    assert_eq!(ids, ["start.host.warm", "start.host.cold"]);
    for table in &results.tables {
        assert!(table.failures.is_empty(), "{:?}", table.failures);
        for of in ["observer", "process"] {
            let series = table.series.iter().find(|one| one.contender == of).unwrap();
            let summary = series.summary.as_ref().unwrap();
            assert_eq!((summary.n, series.samples.len()), (4, 4));
            assert!(summary.least > 0.0 && summary.median.low <= summary.median.value);
        }
        // A process is more than the least program there can be; what is left is what it is more.
        let less = table.series.iter().find(|one| one.metric == "exit_less_observer").unwrap();
        assert_eq!(less.samples.iter().flatten().count(), 4);
    }
}

#[test]
fn a_report_goes_where_nothing_is_lost() {
    let place = empty_directory("bench-out");
    let out = place.join("report");
    let (output, said) = end_of(&["--runs", "1", "--out", text(&out)]);
    assert!(output.status.success(), "{said}");
    let json = fs::read(out.join("report.json")).unwrap();
    let results: Results = serde_json::from_slice(&json).unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("start.host.warm"));
    assert!(results.complete);
    let (output, said) = end_of(&["--runs", "1", "--out", text(&out)]);
    assert_eq!(output.status.code(), Some(125));
    assert!(said.contains("it is not empty"), "{said}");
    assert_eq!(fs::read(out.join("report.json")).unwrap(), json);
    let (output, said) = end_of(&["--runs", "1", "--out", text(&place.join("no/such"))]);
    assert_eq!(output.status.code(), Some(125), "{said}");
}

#[test]
fn an_interruption_keeps_what_is_done() {
    let place = empty_directory("bench-interrupted");
    let scratch = place.join("tmp");
    fs::create_dir(&scratch).unwrap();
    let out = place.join("report");
    let mut command = bench(&["--runs", "10000", "--out", text(&out)]);
    command.env("TMPDIR", &scratch);
    let mut run = Process::start(&mut command);
    // From then on it can be interrupted.
    run.stderr.wait_for("seed ");
    run.signal(Signal::SIGINT);
    let output = run.output();
    assert_eq!(output.status.code(), Some(130));
    let results: Results =
        serde_json::from_slice(&fs::read(out.join("report.json")).unwrap()).unwrap();
    assert!(!results.complete);
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0, "something is left");
}

#[test]
fn what_cannot_be_is_refused() {
    for (arguments, why) in [
        (&["--runs", "0"][..], "0"),
        (&["--only", "nonesuch"], "there is no contender called nonesuch"),
    ] {
        let (output, said) = end_of(arguments);
        assert_eq!(output.status.code(), Some(125), "{said}");
        assert!(said.contains(why), "{said}");
    }
}
