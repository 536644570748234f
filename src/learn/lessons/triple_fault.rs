//! A triple fault.

use super::embedded;
use crate::learn::guest::{Setup, Start};
use crate::learn::lesson::{Lesson, Verdict, number, right, wrong};
use crate::learn::steps::{Ending, Record};

pub(in crate::learn) const LESSON: Lesson = Lesson {
    name: "triple-fault",
    summary: "what a processor does when nobody handles its exceptions",
    before: "\
A real PC restarts when its processor gives up. A virtual one exits with KVM_EXIT_SHUTDOWN, and the monitor \
decides. duplex ends the machine and says where it was, because a guest that only restarts would try the \
same for ever. (Linux uses a triple fault as its last resort to reset: `reboot=t`.)",
    setup: Setup { start: Start::Protected, cpus: 1, controllers: false },
    embedded: embedded::TRIPLE_FAULT,
    question: "For how many exceptions does the processor look for a gate before it gives up?",
    answer,
    exercise: "\
Catch exception 6: give it a gate (the lesson page-fault has one of 64 bits; in 32-bit code a gate has 8 \
bytes) to a handler that puts 2 into EAX and halts.",
    check,
};

fn answer(answer: &str, _: &Record) -> Verdict {
    match number(answer) {
        Some(3) => right(
            "Invalid opcode (6), general protection (13), double fault (8): three. No gate for the last: shutdown.",
        ),
        Some(1) => {
            wrong("Only the first, 6, is the instruction's own fault. And when that has no gate?")
        }
        Some(2) => wrong("The double fault, 8, has a vector of its own that a kernel can handle."),
        Some(6 | 8 | 13) => wrong("That is a vector. How many exceptions are there?"),
        _ => wrong("The name says it, and so do the comments above `ud2`."),
    }
}

fn check(record: &Record) -> Verdict {
    let eax = record.last.general.rax & 0xFFFF_FFFF;
    match (record.ending, record.count_of(6), eax) {
        (Ending::Halted, 1.., 2) => {
            right("Handled. An operating system would send the program SIGILL instead.")
        }
        (Ending::TripleFault, 0, _) => wrong(
            "It is a triple fault still. `lidt` must name a table with at least 7 gates, and gate 6 needs \
             selector 0x10 and type 0x8e00.",
        ),
        (Ending::NotExecuted, 1.., _) => wrong(
            "The handler is reached. KVM cannot go on from there (without hardware virtualization it knows no \
             32-bit `iret`): have the handler halt itself.",
        ),
        (Ending::Halted, 0, _) => wrong("No exception 6 came: the `ud2` is to stay."),
        (_, _, eax) => wrong(format!("It ends with EAX = {eax:#x}, not 2.")),
    }
}
