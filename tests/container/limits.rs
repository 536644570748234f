//! Limits, each met by a program that tries to pass it, and what the host keeps of the groups.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::containers::{end_of, has_containers, shell};
use crate::common::process::Process;
use crate::common::say;

/// The groups of an instance, wherever they are.
fn groups(name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let below = |parent: &Path| {
        let directories = fs::read_dir(parent).into_iter().flatten().flatten();
        directories.map(|entry| entry.path()).filter(|path| path.is_dir()).collect::<Vec<_>>()
    };
    let root = Path::new("/sys/fs/cgroup");
    for hierarchy in below(root).into_iter().chain([root.to_owned()]) {
        let group = hierarchy.join("duplex").join(name);
        if group.is_dir() {
            found.push(group);
        }
    }
    found
}

/// Whether limits can be set here; says so where they cannot.
fn has_limits() -> bool {
    if !has_containers() {
        return false;
    }
    let output = end_of(shell(&["--memory", "64M", "--pids-limit", "20", "--cpus", "1"], "true"));
    let there = output.status.success();
    if !there {
        say(&format!("SKIPPED: {}", String::from_utf8_lossy(&output.stderr)));
    }
    there
}

#[test]
fn memory_beyond_the_limit_kills_and_is_told() {
    if !has_limits() {
        return;
    }
    // The shell itself grows, by doubling a variable, to four times the limit at most.
    let script = "x=0123456789abcdef; while [ ${#x} -lt 134217728 ]; do x=$x$x; done; echo passed";
    let output = end_of(shell(&["--memory", "32M", "--memory-swap", "32M"], script));
    assert_eq!(output.status.code(), Some(137));
    assert_eq!(output.stdout, b"");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("ran out of memory"), "{stderr}");
}

#[test]
fn no_more_processes_than_allowed() {
    if !has_limits() {
        return;
    }
    // Thirty at most; none lives on.
    let script = "n=0; while [ $n -lt 30 ]; do sleep 100 & n=$((n+1)); done; echo $n";
    let output = end_of(shell(&["--pids-limit", "12"], script));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("fork"), "{stderr}");
    assert_eq!(output.stdout, b"");
}

#[test]
fn a_share_of_a_processor_is_held() {
    if !has_limits() {
        return;
    }
    let name = "half-a-processor";
    let mut process = Process::start(&mut shell(
        &["--cpus", "0.5", "--name", name],
        "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo spun; sleep 1000",
    ));
    process.stdout.wait_for("spun\n");
    let throttled = groups(name).iter().any(|group| {
        let stat = fs::read_to_string(group.join("cpu.stat")).unwrap_or_default();
        let count = stat.lines().find_map(|line| line.strip_prefix("nr_throttled "));
        count.is_some_and(|count| count != "0")
    });
    assert!(throttled);
}

#[test]
fn groups_are_gone_with_the_instance() {
    if !has_limits() {
        return;
    }
    let name = "grouped";
    let mut process = Process::start(&mut shell(&["--name", name], "echo up; cat; sleep 1000"));
    process.stdout.wait_for("up\n");
    assert!(!groups(name).is_empty());
    process.kill();
    // It is found dead by the next one.
    end_of(crate::common::containers::among(&["ps"]));
    assert_eq!(groups(name), Vec::<PathBuf>::new());
}
