//! `duplex doctor` says what is so, on this host and in the testbed.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests fail by panicking")]

mod common;

use common::has_testbed;
use common::process::output;
use common::testbed::{duplex, shared, stdout_of};
use serde_json::Value;

fn checks(json: &str) -> (bool, Vec<Value>) {
    let report: Value = serde_json::from_str(json).unwrap();
    (report["usable"].as_bool().unwrap(), report["checks"].as_array().unwrap().clone())
}

fn find<'a>(checks: &'a [Value], name: &str) -> &'a Value {
    checks.iter().find(|check| check["name"].as_str().unwrap().starts_with(name)).unwrap()
}

#[test]
fn every_lack_has_a_remedy() {
    let output = output(&mut common::duplex(&["doctor", "--json"]));
    let (usable, checks) = checks(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(output.status.code(), Some(i32::from(!usable)));
    for check in &checks {
        assert_eq!(check["state"] == "ok", check.get("remedy").is_none(), "{check}");
    }
}

#[test]
fn without_tools_it_says_what_to_install() {
    let output = output(common::duplex(&["doctor"]).env("PATH", "/nonexistent"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("apt-get install qemu-system-x86"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn the_testbed_has_what_it_is_for() {
    if !has_testbed() {
        return;
    }
    let mut command = duplex(shared());
    command.args(["testbed", "run", "--", "/run/duplex/bin/duplex", "doctor", "--json"]);
    let (usable, checks) = checks(&stdout_of(command));
    assert!(usable);
    let virtualization = find(&checks, "hardware virtualization");
    assert_eq!(virtualization["finding"], "AMD-V (kvm_amd)");
    for name in
        ["KVM", "tap networking", "control groups", "user namespaces", "overlayfs", "Landlock"]
    {
        assert_eq!(find(&checks, name)["state"], "ok", "{}", find(&checks, name));
    }
}
