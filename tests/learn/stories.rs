//! What each lesson tells.

use std::path::{Path, PathBuf};

use duplex::host::{self, Virtualization};
use duplex::learn::catalogue::LESSONS;

use crate::common::{has_kvm, say};
use crate::{changed, learn, with_file};

fn golden(lesson: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/learn");
    directory.join(format!("{lesson}.txt"))
}

/// A story without what depends on the host's processor: what it answers to CPUID.
fn masked(lesson: &str, story: &str) -> String {
    let mut masking = false;
    let mut masked = String::new();
    for line in story.lines() {
        let (source, fact) = match line.char_indices().nth(40) {
            Some((at, _)) if lesson == "cpuid" => (line[..at].trim_end(), line[at..].trim_start()),
            _ => (line, ""),
        };
        let instruction = source.get(6..).unwrap_or_default();
        // Further facts of an instruction stand below it.
        masking = masking && source.is_empty() && !fact.is_empty()
            || ["cpuid", "shr ", "and "].iter().any(|name| instruction.starts_with(name));
        match (masking, source.is_empty()) {
            (true, true) => {}
            (true, false) => masked += &format!("{source} (masked)\n"),
            (false, _) => masked += &format!("{line}\n"),
        }
    }
    masked
}

#[test]
fn each_lesson_tells_what_it_told_before() {
    if !has_kvm() {
        return;
    }
    for lesson in &LESSONS {
        let (status, story, stderr) = learn(&[lesson.name]);
        assert_eq!((status, stderr.as_str()), (0, ""), "{}", lesson.name);
        let story = masked(lesson.name, &story);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(golden(lesson.name), &story).unwrap();
            continue;
        }
        if lesson.name == "user-mode"
            && matches!(host::virtualization(), Virtualization::Hardware(_))
        {
            say("SKIPPED: with hardware virtualization user mode is stepped, too: another story");
            continue;
        }
        let before = std::fs::read_to_string(golden(lesson.name)).unwrap();
        assert!(story == before, "{}:\n{story}\ninstead of\n{before}", lesson.name);
    }
}

#[test]
fn a_changed_operand_changes_the_story() {
    if !has_kvm() {
        return;
    }
    let run = |edits| with_file("halt", "--run", changed("halt", edits).as_bytes());
    let (status, story, _) = run(&[("$40", "$77")]);
    assert_eq!(status, 0);
    assert!(story.contains("ax = 0x4d") && story.contains("ax = 0x4f"), "{story}");
    assert!(!story.contains("0x2a"), "{story}");
    // And what is left out is not told.
    let (_, story, _) = run(&[("inc     %ax\n        inc     %ax", "inc     %ax")]);
    assert!(story.contains("3 instructions, 1 exit"), "{story}");
}

#[test]
fn a_port_that_nobody_is_at_is_told_to_be_so() {
    if !has_kvm() {
        return;
    }
    let edited = changed("port-output", &[("$0x3f8", "$0x2f8"), ("$0x3fd", "$0x2fd")]);
    let (_, story, _) = with_file("port-output", "--run", edited.as_bytes());
    assert!(story.contains("EXIT 1: out to port 0x2f8 (nothing is here): 0x48 \"H\""), "{story}");
    assert!(story.contains("duplex gives 0xff"), "{story}");
    assert!(!story.contains("serial port said"), "{story}");
}

#[test]
fn sources_are_short_and_commented() {
    for lesson in &LESSONS {
        let lines: Vec<_> = lesson.embedded.source.lines().collect();
        assert!(lines.len() <= 60, "{} has {} lines", lesson.name, lines.len());
        let comments = lines.iter().filter(|line| line.contains('#')).count();
        assert!(comments * 5 >= lines.len(), "{} says too little", lesson.name);
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{} is wide", lesson.name);
    }
}

#[test]
fn the_list_and_json_name_every_lesson() {
    let (_, list, _) = learn(&[]);
    let (_, json, _) = learn(&["--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    for (number, lesson) in LESSONS.iter().enumerate() {
        assert!(list.contains(lesson.name) && list.contains(lesson.summary), "{list}");
        assert_eq!(json[number]["name"], lesson.name);
    }
    if !has_kvm() {
        return;
    }
    let (_, json, _) = learn(&["2", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["lesson"], &json["exits"]), (&"port-output".into(), &5.into()));
    let first = json["steps"].as_array().unwrap().iter().find(|step| step["exits"][0].is_object());
    let exit = &first.unwrap()["exits"][0];
    assert_eq!(exit["reason"], "port_out");
    assert_eq!((&exit["port"], &exit["data"][0]), (&0x3f8.into(), &u32::from(b'H').into()));
}
