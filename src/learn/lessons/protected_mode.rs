//! Real to protected mode.

use super::embedded;
use crate::learn::guest::{Setup, Start};
use crate::learn::lesson::{Lesson, Verdict, names, right, wrong};
use crate::learn::steps::Record;

pub(in crate::learn) const LESSON: Lesson = Lesson {
    name: "protected-mode",
    summary: "from 16-bit segments to 32-bit addresses, without a single exit",
    before: "\
After a reset a processor behaves like one of 1978: registers of 16 bits, and a segment is just a number \
to add. Each kernel's first task is to leave that behind. A hypervisor has nothing to do with it: the \
registers that decide about the mode are the guest's own.",
    setup: Setup { start: Start::Real, cpus: 1, controllers: false },
    embedded: embedded::PROTECTED_MODE,
    question: "Which instruction makes the processor read the code as 32-bit code?",
    answer,
    exercise: "\
Add a segment to the table whose base is 0x10000, load it into ES, and store 0x3333 to ES:0x8000 (write \
`movl $0x3333, %es:0x8000`). At which address in memory is it to arrive?",
    check,
};

fn answer(answer: &str, _: &Record) -> Verdict {
    let words = ["ljmpl", "ljmp", "far", "jump", "jmp", "20", "cs"];
    if names(answer, &["cr0"]) || answer.contains("mov") {
        return wrong(
            "That allows protection. But see what the narration says of the mode then: how many bits has the \
             code until CS is loaded?",
        );
    }
    if names(answer, &["lgdt", "lgdtl"]) {
        return wrong("That only says where the table is. Nothing has been read from it yet.");
    }
    if names(answer, &words) {
        right("The far jump loads CS, and the descriptor's D bit says: 32-bit code.")
    } else {
        wrong("Look for the line beside which the narration says \"32-bit code\".")
    }
}

fn check(record: &Record) -> Verdict {
    let es = record.last.system.es;
    match (es.base, record.word(0x1_8000), record.word(0x8000)) {
        (0x1_0000, 0x3333, _) => right("Base and offset are added: 0x10000 + 0x8000 is 0x18000."),
        (0x1_0000, ..) => wrong("ES has base 0x10000, but 0x3333 did not arrive at 0x18000."),
        (0, _, 0x3333) => wrong("It went to 0x8000: ES has base 0. Load a segment of your own."),
        (0, ..) => wrong(
            "ES still has base 0. A descriptor with base 0x10000 is 0x00cf92010000ffff: the base stands in \
             bits 16 to 39. Its selector is 8 times its place in the table.",
        ),
        (base, ..) => wrong(format!("ES has base {base:#x}: the base stands in bits 16 to 39.")),
    }
}
