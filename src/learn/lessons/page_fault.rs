//! A page fault.

use super::embedded;
use crate::learn::guest::{Setup, Start};
use crate::learn::lesson::{Lesson, Verdict, names, right, wrong};
use crate::learn::steps::{Ending, Record};

const PAGE_FAULT: u8 = 14;

pub(in crate::learn) const LESSON: Lesson = Lesson {
    name: "page-fault",
    summary: "an address without memory, and a handler that mends it",
    before: "\
Where the guest's own tables lead nowhere, the processor raises a page fault. That is the guest's affair: \
its handler deals with it, as a kernel does to give a program memory only when it is touched. (Where the \
host's tables lead nowhere, the guest never learns of it: KVM fills them in.)",
    setup: Setup { start: Start::Long, cpus: 1, controllers: false },
    embedded: embedded::PAGE_FAULT,
    question: "Which register tells the handler the address that was wanted?",
    answer,
    exercise: "\
Have the guest read from 4 GiB + 0x14000 instead of writing there, and leave the error code of the fault in \
EDX when it halts. What has become of the 2?",
    check,
};

fn answer(answer: &str, _: &Record) -> Verdict {
    if names(answer, &["cr2"]) {
        return right("CR2. The error code on the stack says what was tried.");
    }
    if names(answer, &["cr3"]) {
        return wrong(
            "CR3 is where the tables begin. See what else changes beside the faulting store.",
        );
    }
    if names(answer, &["rbx", "ebx", "bx"]) {
        return wrong(
            "RBX holds it by chance: a handler cannot know which register a program has used.",
        );
    }
    wrong("See the line that raises the exception: one control register changes there.")
}

fn check(record: &Record) -> Verdict {
    let faults: Vec<_> =
        record.steps.iter().filter(|step| step.vector() == Some(PAGE_FAULT)).collect();
    let wanted = |step: &&&crate::learn::steps::Step| step.after.system.cr2 == 0x1_0001_4000;
    let Some(fault) = faults.iter().find(wanted) else {
        return wrong("No page fault at 0x100014000 has come.");
    };
    let edx = record.last.general.rdx & 0xFFFF_FFFF;
    let error_code = fault.delivered.and_then(|delivered| delivered.error_code);
    match (error_code, record.ending, edx) {
        (Some(2), ..) => {
            wrong("Error code 2: it is a write still. Swap the operands of the `movl`.")
        }
        (Some(0), Ending::Halted, 0) => {
            right("Bit 1 is clear: a read. Bit 0 is clear, too: no page was there.")
        }
        (_, Ending::Halted, _) => wrong(format!("It halts with EDX = {edx:#x}.")),
        _ => wrong("It must come to its `hlt` again."),
    }
}
