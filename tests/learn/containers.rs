//! The lessons about containers: their commands show what they say, and their questions know the answers.

use std::path::Path;

use duplex::learn::containers::LESSONS;

use crate::common::process::output;
use crate::common::{duplex, say, text};
use crate::learn;

const ANSWERS: [(&str, &str, &str); 6] = [
    ("namespaces", "the PID namespace", "the user namespace"),
    ("users", "no", "yes"),
    ("root", "an overlay", "tmpfs"),
    ("mounts", "No, it is read-only", "yes"),
    ("capabilities", "14", "41"),
    ("filter", "KVM", "seccomp"),
];

#[test]
fn every_question_about_containers_knows_its_answer() {
    assert_eq!(ANSWERS.map(|(name, ..)| name), LESSONS.each_ref().map(|lesson| lesson.name));
    for (lesson, right, wrong) in ANSWERS {
        let (status, stdout, _) = learn(&["container", lesson, "--answer", right]);
        assert!(status == 0 && stdout.starts_with("Right. "), "{lesson}");
        let (status, _, stderr) = learn(&["container", lesson, "--answer", wrong]);
        assert!(status == 1 && stderr.starts_with("Not yet. "), "{lesson}: {stderr}");
        let (_, told, _) = learn(&["container", lesson]);
        assert!(told.contains("Question: ") && told.contains("--until"), "{told}");
    }
}

/// What is said of a container that was stopped behind a step.
fn stopped(image: &Path, until: &str) -> Option<String> {
    let mut command = duplex(&["run", "--container", "--until", until, text(image)]);
    let output = output(&mut command);
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("namespaces cannot be had") {
        say("SKIPPED: no containers can be made here");
        return None;
    }
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_container_is_seen_step_by_step() {
    let image = tempfile::tempdir().unwrap();
    for step in LESSONS.iter().flat_map(|lesson| lesson.until) {
        let Some(said) = stopped(image.path(), step) else { return };
        assert!(said.starts_with("Behind step ") && said.contains(step), "{said}");
        assert!(said.contains(" 1 inside") && said.contains("user, mnt, pid, net"), "{said}");
    }
    // What the lessons ask can be seen.
    let early = stopped(image.path(), "become user 0").unwrap();
    let late = stopped(image.path(), "unmount the host").unwrap();
    assert!(!early.contains("overlay at /\n") && late.contains("overlay at /\n"), "{early}{late}");
    let mounted = stopped(image.path(), "make /tmp").unwrap();
    assert!(mounted.contains("proc at /proc/sys, read-only"), "{mounted}");
    let last = stopped(image.path(), "give up gaining").unwrap();
    assert!(last.contains("at most 14 for what it executes"), "{last}");
    assert!(last.contains("nothing is gained"), "{last}");
    // And nothing is left of any of them.
    let listed = output(&mut duplex(&["ps", "--all"]));
    assert!(!String::from_utf8_lossy(&listed.stdout).contains(text(image.path())));
}

#[test]
fn steps_that_are_none_are_refused() {
    let image = tempfile::tempdir().unwrap();
    for (arguments, reason) in [
        (&["--container", "--until", "0"][..], "give a step of PID 1"),
        (&["--container", "--until", "999"], "give a step of PID 1"),
        (&["--container", "--until", "no such step"], "no step has that in its name"),
        (&["--until", "5"], "add --container"),
        (&["--container", "--until", "5", "--explain"], "cannot be used with"),
    ] {
        let all = [&["run"], arguments, &[text(image.path())]].concat();
        let output = output(&mut duplex(&all));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(125) && stderr.contains(reason), "{stderr}");
    }
}
