//! A second processor.

use super::embedded;
use crate::learn::guest::{Setup, Start};
use crate::learn::lesson::{Lesson, Verdict, names, right, wrong};
use crate::learn::steps::Record;

pub(in crate::learn) const LESSON: Lesson = Lesson {
    name: "two-processors",
    summary: "one processor starts another, and they share memory",
    before: "\
A vCPU is a thread of duplex that calls KVM_RUN. The second one's call just waits: its processor has not \
been started. (Here both take turns, an instruction each, so that the story is the same each time; they are \
told apart as cpu0 and cpu1.)",
    setup: Setup { start: Start::Protected, cpus: 2, controllers: true },
    embedded: embedded::TWO_PROCESSORS,
    question: "In which mode does the second processor begin?",
    answer,
    exercise: "\
Have the first processor say its 1 before the second one says 2, although it starts the second one first: \
let the second wait for a sign, too.",
    check,
};

fn answer(answer: &str, record: &Record) -> Verdict {
    debug_assert!(record.steps.iter().any(|step| step.cpu == 1));
    if names(answer, &["real", "16"]) {
        return right(
            "Real mode, as after a reset: every kernel has a piece of 16-bit code for that.",
        );
    }
    if names(answer, &["protected", "32", "long", "64"]) {
        return wrong(
            "The first one was there. Which `.code` stands above what the second executes?",
        );
    }
    wrong("See the comment above the second processor's first instruction.")
}

fn check(record: &Record) -> Verdict {
    let by_second = record.steps.iter().filter(|step| step.cpu == 1).count();
    match (record.text().as_str(), by_second) {
        (_, 0) => wrong("The second processor was never started."),
        ("12", _) => {
            right("A word of memory that one writes and the other watches: the simplest lock.")
        }
        ("21", _) => wrong(
            "It is 21 still. Before its `out`, have the second compare a word in memory in a loop, and the \
             first write it behind its own `out`.",
        ),
        (text, _) => wrong(format!("It says {text:?}: each is to say its digit once.")),
    }
}
