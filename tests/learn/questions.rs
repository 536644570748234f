//! Right answers are right, and wrong ones get a hint.

use duplex::learn::catalogue::LESSONS;

use crate::common::has_kvm;
use crate::learn;

/// A lesson, answers that are right, and answers that are wrong with a word of the hint.
type Case = (&'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

const CASES: [Case; 12] = [
    (
        "halt",
        &["0", "none", "No exit at all."],
        &[("1", "in all"), ("3", "Count"), ("?", "number")],
    ),
    ("port-output", &["13", "0xd"], &[("12", "newline"), ("14", "hlt"), ("1", "beside")]),
    ("mmio", &["4", "four"], &[("6", "memory"), ("5", "`hlt`"), ("2", "Count")]),
    (
        "protected-mode",
        &["the far jump", "ljmpl", "line 20"],
        &[("mov to CR0", "allows"), ("lgdt", "table"), ("hlt", "32-bit")],
    ),
    ("long-mode", &["3", "three of them"], &[("4", "2 MiB"), ("1", "first"), ("9", "bit 31")]),
    (
        "page-fault",
        &["CR2", "it's in %cr2."],
        &[("cr3", "begin"), ("rbx", "chance"), ("?", "control")],
    ),
    ("timer", &["none"], &[("1", "serial"), ("4", "beside")]),
    ("two-processors", &["real mode", "16-bit"], &[("protected", "first one"), ("?", "comment")]),
    ("user-mode", &["the guest's kernel"], &[("KVM", "EXIT"), ("duplex", "EXIT")]),
    ("virtqueue", &["one"], &[("512", "memory already"), ("10", "QueueNotify")]),
    ("triple-fault", &["3"], &[("1", "first"), ("2", "double"), ("8", "vector")]),
    ("cpuid", &["bit 31"], &[("5", "VMX"), ("2", "shifts"), ("dunno", "number")]),
];

#[test]
fn every_question_knows_its_answer() {
    assert_eq!(CASES.map(|(name, ..)| name), LESSONS.each_ref().map(|lesson| lesson.name));
    if !has_kvm() {
        return;
    }
    for (lesson, right, wrong) in CASES {
        for answer in right {
            let (status, stdout, stderr) = learn(&[lesson, "--answer", answer]);
            assert!(status == 0 && stdout.starts_with("Right. "), "{lesson} {answer}: {stderr}");
        }
        for (answer, hint) in wrong {
            let (status, stdout, stderr) = learn(&[lesson, "--answer", answer]);
            assert_eq!((status, stdout.as_str()), (1, ""), "{lesson} {answer}");
            assert!(stderr.starts_with("Not yet. "), "{lesson} {answer}: {stderr}");
            assert!(stderr.replace('\n', " ").contains(hint), "{lesson} {answer}: {stderr}");
        }
    }
}

#[test]
fn an_answer_that_does_not_stand_in_the_lesson_comes_as_json_too() {
    if !has_kvm() {
        return;
    }
    let (status, stdout, _) = learn(&["halt", "--answer", "7", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((status, &json["right"]), (1, &false.into()));
}

#[test]
fn a_lesson_that_is_not_there_is_named() {
    let (status, _, stderr) = learn(&["halted"]);
    assert_eq!(status, 125);
    assert_eq!(stderr, "duplex: there is no lesson \"halted\": 'duplex learn' lists them\n");
}
