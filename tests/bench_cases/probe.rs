//! The probe's modes, each in a process of its own.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::common::process::{self, Process};

const PROBE: &str = env!("CARGO_BIN_EXE_duplex-probe");

fn probe(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROBE);
    command.args(arguments);
    command
}

/// What it prints, which is one line of JSON.
fn said(arguments: &[&str]) -> Value {
    let output = process::output(&mut probe(arguments));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn positive(value: &Value, names: &[&str]) {
    for name in names {
        assert!(value[name].as_f64().is_some_and(|number| number > 0.0), "{name}: {value}");
    }
}

#[test]
fn without_arguments_it_is_ready() {
    assert_eq!(process::output(&mut probe(&[])).stdout, b"ready\n");
    assert!(process::output(&mut probe(&["nothing"])).stdout.is_empty());
}

#[test]
fn nonsense_is_refused() {
    for arguments in [
        &["x"][..],
        &["cpu", "integer"],
        &["cpu", "x=1"],
        &["cpu", "integer=-1"],
        &["hold", "many"],
        &["noise", "x", "1", "1"],
        &["disk", "/nonesuch", "1", "1"],
        &["net", "call", "127.0.0.1", "99999", "1", "1"],
    ] {
        let output = process::output(&mut probe(arguments));
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn work_is_measured_by_the_amount() {
    let counts = said(&["cpu", "calibrate", "1"]);
    let words: Vec<String> =
        counts.as_object().unwrap().iter().map(|(kind, count)| format!("{kind}={count}")).collect();
    assert_eq!(words.len(), 9);
    let mut arguments = vec!["cpu"];
    arguments.extend(words.iter().map(String::as_str));
    let rates = said(&arguments);
    positive(&rates, &["integer", "floating_point", "memory", "system_call", "context_switch"]);
    positive(&rates, &["page_fault", "fork_exec", "pipe", "contention"]);
}

#[test]
fn memory_is_held_until_told() {
    let mut process =
        Process::start(probe(&["hold", "24"]).stdin(Stdio::piped()).stdout(Stdio::piped()));
    let mut input = process.take_stdin();
    let mut resident = Vec::new();
    for state in ["idle", "touched", "freed"] {
        let line = process.stdout.wait_for("\n");
        let answer: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(answer["state"], state);
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        resident.push(line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap());
        input.write_all(b"\n").unwrap();
    }
    let [idle, touched, freed] = resident[..] else { panic!("{resident:?}") };
    assert!(touched - idle > 23 << 10 && touched - freed > 23 << 10, "{resident:?}");
    assert!(process.end().success());
}

#[test]
fn files_are_measured_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let found = said(&["disk", directory.path().to_str().unwrap(), "2", "16"]);
    positive(&found, &["sequential_write", "sequential_read", "random_read", "random_write"]);
    positive(&found, &["fsync", "fsync_p99"]);
    assert!(found["direct"].is_boolean());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn talk_is_measured_between_two() {
    let mut server = probe(&["net", "serve", "127.0.0.1", "60"]);
    let mut server = server.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port = serde_json::from_str::<Value>(&line).unwrap()["port"].to_string();
    let found = said(&["net", "call", "127.0.0.1", &port, "2", "50"]);
    positive(&found, &["send", "receive", "round_trip", "round_trip_p99"]);
    // It ends with its input.
    drop(server.stdin.take());
    assert!(server.wait().unwrap().success());
}

#[test]
fn noise_ends_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let path: &Path = directory.path();
    for kind in ["cpu", "memory", "disk", "forks"] {
        let output =
            process::output(&mut probe(&["noise", kind, "1", "2", path.to_str().unwrap()]));
        assert!(output.status.success(), "{kind}: {output:?}");
        assert_eq!(output.stdout, b"ready\n");
    }
    assert_eq!(std::fs::read_dir(path).unwrap().count(), 0);
}

#[test]
fn a_victim_tells_each_part() {
    let directory = tempfile::tempdir().unwrap();
    let found = said(&["victim", "5", directory.path().to_str().unwrap()]);
    positive(&found, &["throughput", "compute", "memory", "fork", "disk", "request"]);
    positive(&found, &["request_p99"]);
    assert_eq!(said(&["victim", "5"])["disk"], 0.0);
}

#[test]
fn a_look_round_sees_this_kernel() {
    let found = said(&["look"]);
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(found["kernel_release"], release.trim());
    assert_eq!(found["calls"].as_object().unwrap().len(), 46);
    assert!(found["calls"].as_object().unwrap().values().any(|outcome| outcome == "reached"));
    assert!(found["devices"].as_array().unwrap().iter().any(|device| device == "/dev/null"));
    assert!(found["processes"].as_u64().unwrap() > 0);
}
