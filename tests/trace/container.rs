//! Traces of containers: the steps to them, and on request the system calls in them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::common::containers::{command, end_of, has_containers, shell};
use crate::common::text;
use crate::golden::printed;

/// Runs a script in a container with a trace; returns the trace as JSON.
fn traced(directory: &Path, options: &[&str], script: &str, status: i32) -> Value {
    let trace: PathBuf = directory.join("run.trace");
    let options = [&["--trace", text(&trace)], options].concat();
    let ended = end_of(shell(&options, script));
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert_eq!((ended.status.code(), &*stderr), (Some(status), ""), "{script}");
    serde_json::from_slice(&printed(&["trace", "show", text(&trace), "--json"])).unwrap()
}

fn count(shown: &Value, call: &str) -> u64 {
    let calls = shown["calls"].as_array().unwrap();
    let found = calls.iter().find(|found| found["call"] == call);
    found.map_or(0, |found| found["count"].as_u64().unwrap())
}

#[test]
fn the_steps_are_there_and_no_calls_unless_asked_for() {
    if !has_containers() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let shown = traced(directory.path(), &[], "exit 3", 3);
    let steps = shown["steps"].as_array().unwrap();
    assert!(steps.len() > 40, "{} steps", steps.len());
    assert_eq!(steps[0]["step"], "run as PID 1");
    assert!(steps.windows(2).all(|pair| pair[0]["at"].as_u64() <= pair[1]["at"].as_u64()));
    let phases: Vec<&str> =
        shown["phases"].as_array().unwrap().iter().map(|p| p["phase"].as_str().unwrap()).collect();
    assert_eq!((phases[0], phases[phases.len() - 1]), ("main", "removed"));
    assert_eq!(
        (&shown["calls"], &shown["about"]["half"]),
        (&Value::Array(vec![]), &"container".into())
    );
}

#[test]
fn system_calls_are_those_of_the_commands() {
    if !has_containers() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    // Processes that are started by others, one that is stopped for a while, one that a signal ends, and
    // one that ends with an error.
    let script = "mkdir /made; (cat /nonesuch; true) 2>/dev/null; \
                  sleep 100 & kill -STOP $!; kill -CONT $!; kill $!; wait; exit 5";
    let shown = traced(directory.path(), &["--trace-syscalls"], script, 5);
    assert_eq!(count(&shown, "mkdir"), 1, "{}", shown["calls"]);
    // The shell's own and those of mkdir, cat and sleep.
    assert!(count(&shown, "execve") >= 4, "{}", shown["calls"]);
    // mkdir, the inner shell (or cat in its place) and the script; sleep was killed.
    assert!(count(&shown, "exit_group") >= 3, "{}", shown["calls"]);
    assert_eq!(shown["dropped"], 0);
    // PID 1 is duplex, which is not meant: it makes mounts.
    assert_eq!(count(&shown, "pivot_root"), 0);
}

#[test]
fn what_a_half_does_not_have_is_refused() {
    for (options, why) in [
        (&["--trace", "/nonesuch/a", "--trace-samples", "99"][..], "--trace-samples"),
        (&["--trace-syscalls"][..], "--trace"),
        (&["--trace", "/nonesuch/a"][..], "give a file in a directory that you can write to"),
    ] {
        let refused = end_of(command(options, &["true"]));
        let stderr = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(125), "{stderr}");
        assert!(stderr.contains(why), "{stderr}");
    }
}
