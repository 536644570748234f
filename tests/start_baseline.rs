//! What a start costs in instructions, beside what it cost when somebody last looked: `benches/baseline.json`.
//!
//! `make accept-baseline` writes that anew. It is of the build that tests are made with.
#![allow(clippy::unwrap_used, missing_docs, clippy::panic, reason = "tests fail by panicking")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::process::output;
use common::testbed::{duplex, state_directory};
use common::{has_testbed, say};
use duplex::bench::results::Results;
use duplex::guest_images::{Cache, find_tuned_kernel};

/// How much more than the baseline is too much.
const MARGIN: f64 = 1.03;

/// Rounds that count.
const ROUNDS: &str = "5";

/// Million instructions, by contender and metric.
type Figures = BTreeMap<String, BTreeMap<String, f64>>;

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/baseline.json")
}

/// The medians of duplex's own starts, on the clock that counts instructions.
fn measured() -> Figures {
    let mut command = duplex(&state_directory("start-baseline"));
    command.args(["bench", "start", "--count-instructions", "--json", "--seed", "1"]);
    command.args(["--runs", ROUNDS, "--only", "duplex-container", "--only", "duplex-vm"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = output(&mut command);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let results: Results = serde_json::from_slice(&output.stdout).unwrap();
    let table = results.tables.iter().find(|table| table.id == "start.counting").unwrap();
    assert!(table.failures.is_empty(), "{:?}", table.failures);
    let mut figures = Figures::new();
    for series in &table.series {
        if series.contender.starts_with("duplex-") && !series.metric.contains("less") {
            let median = series.summary.as_ref().unwrap().median.value;
            let rounded = (median * 1000.0).round() / 1000.0;
            let of = figures.entry(series.contender.clone()).or_default();
            of.insert(series.metric.clone(), rounded);
        }
    }
    figures
}

#[test]
fn a_start_takes_no_more_instructions_than_it_did() {
    if !has_testbed() {
        return;
    }
    if Cache::open().ok().as_ref().and_then(find_tuned_kernel).is_none() {
        say("SKIPPED: there is no tuned kernel (make tuned-kernel)");
        return;
    }
    let figures = measured();
    if std::env::var_os("DUPLEX_ACCEPT_BASELINE").is_some() {
        let text = serde_json::to_string_pretty(&figures).unwrap() + "\n";
        fs::write(file(), text).unwrap();
        return;
    }
    let baseline: Figures = serde_json::from_slice(&fs::read(file()).unwrap()).unwrap();
    let mut dearer = Vec::new();
    for (contender, metrics) in &baseline {
        for (metric, accepted) in metrics {
            let found = figures[contender][metric];
            if found > accepted * MARGIN {
                dearer.push(format!("{contender}, {metric}: {found}, was {accepted}"));
            }
        }
    }
    assert!(
        dearer.is_empty(),
        "million instructions: {dearer:#?}\nIf it is worth that, or the compiler or the testbed's kernel \
         is another: make accept-baseline"
    );
}
