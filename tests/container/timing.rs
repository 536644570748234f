//! `--timing`: where a start's time went.

use serde_json::Value;

use crate::common::containers::{command, end_of, has_containers};

#[test]
fn each_step_is_stamped_once_and_in_order() {
    if !has_containers() {
        return;
    }
    let output = end_of(command(&["--timing", "--json"], &["echo", "hello"]));
    assert_eq!(output.stdout, b"hello\n");
    let told: Value = serde_json::from_slice(&output.stderr).unwrap();
    let times = |key: &str| -> Vec<u64> {
        told[key].as_array().unwrap().iter().map(|row| row["ns"].as_u64().unwrap()).collect()
    };
    let phases: Vec<&str> = told["phases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["phase"].as_str().unwrap())
        .collect();
    let expected = [
        "main",
        "decided",
        "claimed",
        "group_made",
        "cloned",
        "provided",
        "command_started",
        "first_output",
        "end",
        "gone",
        "removed",
    ];
    assert_eq!(phases, expected);
    assert!(times("phases").is_sorted() && times("steps").is_sorted());
    // As many as it says beforehand that it takes, but for those of duplex, and for the command's filter.
    let steps = times("steps").len();
    assert!(steps > 40, "{steps} steps");
    let started = times("phases")[6];
    assert!(times("steps").iter().all(|step| *step <= started));
}

#[test]
fn it_is_a_table_for_people() {
    if !has_containers() {
        return;
    }
    let output = end_of(command(&["--timing"], &["true"]));
    let table = String::from_utf8_lossy(&output.stderr).into_owned();
    for row in
        ["PHASE", "process started", "PID 1 made", "mount proc at /proc", "nothing of it runs"]
    {
        assert!(table.contains(row), "{row} is missing: {table}");
    }
}
