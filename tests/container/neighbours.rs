//! What an instance can do to its neighbour, in either half: nothing. The same attempts in the neighbour
//! itself, by `duplex exec`, succeed: the wall between the two is all that holds them.

use std::fmt::Write as _;

use super::controls::FUNCTIONS;
use super::escapes::image_with_attempts;
use crate::common::testbed::in_testbed;
use crate::common::{has_testbed, process, say, text};

/// Files, signals, memory, network and names.
const ATTEMPTS: [&str; 12] = [
    "marker",
    "process-roots",
    "signal",
    "trace",
    "memory",
    "abstract-socket",
    "passed-descriptor",
    "loopback",
    "host-name",
    "segment",
    "queue",
    "shared-memory",
];

/// One instance has what the other is after.
fn script(image: &str, half: &str) -> String {
    let mut script = format!("ROOT={image}\n{FUNCTIONS}");
    let run = format!("$duplex run {half}");
    // Those of the other half are in the same testbed.
    let victim = format!("victim{half}");
    writeln!(script, "start_target {run} -i --name {victim} $ROOT /bin/escape target /tmp/target")
        .unwrap();
    for name in ATTEMPTS {
        let attempt = format!("/bin/escape {name}");
        writeln!(script, "attempt {name} with timeout 60 {run} $facts $ROOT {attempt}").unwrap();
        writeln!(
            script,
            "attempt {name} without timeout 60 $duplex exec $facts {victim} {attempt}"
        )
        .unwrap();
    }
    script
}

fn try_all(half: &str) {
    if !has_testbed() {
        return;
    }
    let (_directory, image) = image_with_attempts();
    let output = process::output(&mut in_testbed(&script(text(&image), half)));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut wrong = String::new();
    for name in ATTEMPTS {
        let of = |kind: &str| {
            let start = format!("{name} {kind} ");
            said.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or("nothing was said")
        };
        let (with, without) = (of("with"), of("without"));
        if !with.starts_with("1 held: ") || !without.starts_with("0 out: ") {
            writeln!(wrong, "{name}: {with}\n    in the neighbour: {without}").unwrap();
        }
    }
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(wrong.is_empty(), "{wrong}{stderr}");
    say(&format!("{half}:\n{said}"));
}

#[test]
fn a_container_does_not_reach_another() {
    try_all("--container");
}

#[test]
fn a_guest_does_not_reach_another() {
    try_all("--vm");
}
