//! Instances that outlive their command line, and what killed ones leave.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::common::containers::{
    among, command, end_of, has_containers, runtime_directory, said, shell,
};
use crate::common::process::Process;
use crate::common::soak;

/// The places of instances.
fn places() -> Vec<String> {
    let directory = runtime_directory().join("duplex");
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    names
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.starts_with("run-"))
        .collect()
}

#[test]
fn a_detached_one_runs_on_and_takes_further_commands() {
    if !has_containers() {
        return;
    }
    assert_eq!(said(command(&["-d", "--name", "stays"], &["sleep", "1000"])), "stays\n");
    assert!(said(among(&["ps"])).contains("stays"));
    let script = "echo $$ > /tmp/pid; hostname; ps | grep -c '[s]leep 1000'";
    assert_eq!(said(among(&["exec", "stays", "sh", "-c", script])), "stays\n1\n");
    let output = end_of(among(&["exec", "stays", "sh", "-c", "exit 9"]));
    assert_eq!(output.status.code(), Some(9));
    let again = end_of(command(&["--name", "stays"], &["true"]));
    assert_eq!(again.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&again.stderr).contains("there is an instance called stays"));
    assert_eq!(said(among(&["stop", "stays"])), "stays\n");
    assert_eq!(said(among(&["rm", "stays"])), "stays\n");
    assert!(!places().contains(&"run-stays".to_owned()));
}

#[test]
fn killed_at_any_moment_it_leaves_nothing() {
    if !has_containers() {
        return;
    }
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = mounts();
    for moment in 0..if soak() { 200 } else { 20 } {
        let name = format!("killed-{moment}");
        let process = Process::start(&mut shell(&["--name", &name], "echo up; sleep 1000"));
        // Later and later in its start, up to after it.
        if !process.ends_within(Duration::from_micros(500 * moment)) {
            process.signal(Signal::SIGKILL);
        }
        // Its streams end when nobody has them any more: so does everything in it.
        process.output();
    }
    end_of(among(&["ps"]));
    assert_eq!(places().iter().filter(|name| name.starts_with("run-killed")).count(), 0);
    assert_eq!(mounts(), before);
}
