//! The smallest guest.

use super::embedded;
use crate::learn::guest::{Setup, Start};
use crate::learn::lesson::{Lesson, Verdict, number, right, wrong};
use crate::learn::steps::{Ending, Left, Record};

pub(in crate::learn) const LESSON: Lesson = Lesson {
    name: "halt",
    summary: "the smallest guest: what runs without duplex, and what brings it back",
    before: "\
A VM is a processor that executes somebody else's instructions, and some memory that they see. duplex \
asks KVM for both, puts a few bytes at address 0x1000, and calls the ioctl KVM_RUN: the processor is the \
guest's until something happens that KVM cannot deal with. Then KVM_RUN returns with a reason. That \
is an exit, and it is all that a virtual machine monitor ever sees.",
    setup: Setup { start: Start::Real, cpus: 1, controllers: false },
    embedded: embedded::HALT,
    question: "How many exits to duplex did the additions cost?",
    answer,
    exercise: "Have the guest halt with 100 in AX, computed by a loop of 10 rounds.",
    check,
};

fn answer(answer: &str, record: &Record) -> Verdict {
    match number(answer) {
        Some(0) => right("The processor executes them itself: only `hlt` brought it back."),
        Some(count) if count == record.exit_count() as u64 => {
            wrong("That is how many there were in all. Which line do they stand beside?")
        }
        Some(_) => wrong("Count the lines that say EXIT beside `inc` and `mov`."),
        None => wrong("Answer with a number, such as --answer 3."),
    }
}

fn check(record: &Record) -> Verdict {
    let ax = record.last.general.rax & 0xFFFF;
    let longest = record.steps.iter().filter_map(|step| step.gpa);
    let rounds = longest.clone().map(|gpa| longest.clone().filter(|other| *other == gpa).count());
    match (record.ending, ax, rounds.max().unwrap_or(0)) {
        (Ending::Halted, 100, 10) if record.exits().all(|left| *left == Left::Halt) => {
            right("A loop costs no exit, however long it is.")
        }
        (Ending::Halted, 100, 10) => wrong("There are other exits than `hlt`: a sum needs none."),
        (Ending::Halted, 100, rounds) => wrong(format!(
            "AX is right, but no instruction was executed 10 times; the most was {rounds}. `loop label` \
             takes one from CX and jumps while it is not 0."
        )),
        (Ending::Halted, ax, _) => wrong(format!("It halts with AX = {ax}.")),
        _ => wrong("It must come to its `hlt`."),
    }
}
