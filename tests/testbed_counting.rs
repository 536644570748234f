//! The deterministic stopwatch: instruction counts that hardly vary.
#![allow(clippy::unwrap_used, missing_docs, clippy::panic, reason = "tests fail by panicking")]

mod common;

use std::fs;
use std::process::Command;

use common::process::{output, status};
use common::testbed::{duplex, state_directory};
use common::{has_testbed, image};
use serde_json::Value;

struct Counting(std::path::PathBuf);

impl Counting {
    fn start() -> Self {
        let state = state_directory("testbed-counting");
        let mut command = duplex(&state);
        command.args(["testbed", "start", "--count-instructions"]);
        assert!(status(&mut command).success());
        Self(state)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = duplex(&self.0);
        command.args(["testbed", "run", "--count-instructions", "--json"]).args(arguments);
        command
    }

    /// The counts and the output of a command.
    fn count(&self, arguments: &[&str]) -> (Value, String) {
        let output = output(&mut self.command(arguments));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr}");
        let counts = stderr.lines().last().unwrap();
        (serde_json::from_str(counts).unwrap(), String::from_utf8(output.stdout).unwrap())
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        assert!(status(duplex(&self.0).args(["testbed", "stop"])).success());
    }
}

#[test]
fn counts_are_the_same_on_every_run() {
    if !has_testbed() {
        return;
    }
    let machine = Counting::start();
    let first_lines: Vec<u64> = (0..5)
        .map(|_| {
            let (counts, output) = machine.count(&["--", "/bin/echo", "hello"]);
            assert_eq!(output, "hello\n");
            assert!(counts["first_byte"].as_u64() <= counts["first_line"].as_u64());
            assert!(counts["first_line"].as_u64() < counts["end"].as_u64());
            counts["first_line"].as_u64().unwrap()
        })
        .collect();
    let (least, most) = (first_lines.iter().min().unwrap(), first_lines.iter().max().unwrap());
    // So small a program is the worst case: a timer tick more or less is 1 % of it.
    assert!(most - least < least / 20, "{first_lines:?}");
    assert!((500_000..10_000_000).contains(least), "{first_lines:?}");

    // A known amount of work is counted as such: a busy loop of the shell, twice as long.
    let end_of = |rounds: u32| {
        let script = format!("i=0; while [ $i -lt {rounds} ]; do i=$((i+1)); done");
        machine.count(&["--", "sh", "-c", &script]).0["end"].as_u64().unwrap()
    };
    let (none, once, twice) = (end_of(0), end_of(20_000), end_of(40_000));
    let ratio = (twice - none) as f64 / (once - none) as f64;
    assert!((1.9..2.1).contains(&ratio), "{none} {once} {twice}");

    // It runs from memory, and finds what was named and nothing else.
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let input = place.path().join("input");
    fs::write(&input, "named\n").unwrap();
    let path = input.to_str().unwrap();
    assert_eq!(machine.count(&["--input", path, "--", "cat", path]).1, "named\n");
    assert!(!output(&mut machine.command(&["--", "cat", path])).status.success());
    // The exit status passes through here too.
    let status = output(&mut machine.command(&["--", "sh", "-c", "exit 9"])).status;
    assert_eq!(status.code(), Some(9));

    // A container's start: what duplex says of each step, and what is seen from outside.
    let mut run = duplex(&machine.0);
    run.args(["run", "--container", "--count-instructions", "--json"]);
    run.arg(image::busybox()).args(["echo", "hello"]);
    let said = output(&mut run);
    assert_eq!(String::from_utf8_lossy(&said.stdout), "hello\n");
    let stderr = String::from_utf8_lossy(&said.stderr);
    let json: Vec<Value> =
        stderr.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let [own, seen] = &json[..] else { panic!("{stderr}") };
    let at = |phase: &str| {
        let phases = own["phases"].as_array().unwrap();
        phases.iter().find(|found| found["phase"] == phase).unwrap()["ns"].as_u64().unwrap()
    };
    assert!(own["steps"].as_array().unwrap().len() > 20, "{own}");
    assert!(at("claimed") < at("cloned") && at("cloned") < at("command_started"), "{own}");
    let first_line = seen["first_line"].as_u64().unwrap();
    assert!(at("command_started") < first_line, "{own} {seen}");
    assert!((5_000_000..60_000_000).contains(&first_line), "{seen}");
}
