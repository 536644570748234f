//! Page tables and long mode.

use super::embedded;
use crate::learn::guest::{Setup, Start};
use crate::learn::lesson::{Lesson, Verdict, number, right, wrong};
use crate::learn::steps::Record;
use crate::learn::walk::walk;

pub(in crate::learn) const LESSON: Lesson = Lesson {
    name: "long-mode",
    summary: "page tables of three levels, and 64-bit code",
    before: "\
64-bit code needs paging: each address is looked up in tables that the guest writes into its memory. What \
it takes for a physical address, the GPA, is looked up again by the processor or by KVM, in \
tables that only the host has. So a guest has memory from 0 on, like everybody else.",
    setup: Setup { start: Start::Protected, cpus: 1, controllers: false },
    embedded: embedded::LONG_MODE,
    question: "How many table entries does the processor read to find out where address 0x14000 is?",
    answer,
    exercise: "\
Map the 2 MiB at address 0x200000 to GPA 0 as well, and store 0x77 to 0x215000 in 64-bit code. Where is it \
to arrive?",
    check,
};

fn answer(answer: &str, record: &Record) -> Verdict {
    let levels = walk(&record.memory, &record.last, 0x1_4000).visited.len() as u64;
    match number(answer) {
        Some(count) if count == levels => right(
            "PML4, page directory pointers, page directory. Bit 7 ended it there; a 4 KiB page would need a \
             fourth. In a VM each of those addresses is a GPA that has to be looked up in its turn: up \
             to 24 reads.",
        ),
        Some(4) => wrong("Four with pages of 4 KiB. Here bit 7 of an entry says: a page of 2 MiB."),
        Some(1) => wrong("CR3 leads to the first table only."),
        Some(_) => wrong("See the line that sets bit 31 of CR0: it shows the way of an address."),
        None => wrong("Answer with a number, such as --answer 3."),
    }
}

fn check(record: &Record) -> Verdict {
    if record.last.system.efer & 1 << 10 == 0 {
        return wrong("The processor is not in long mode at the end.");
    }
    match (walk(&record.memory, &record.last, 0x21_5000).gpa, record.word(0x1_5000)) {
        (Some(0x1_5000), 0x77) => right("Two addresses, one place: 0x15000."),
        (Some(0x1_5000), _) => wrong("0x215000 leads to GPA 0x15000, but 0x77 is not there."),
        (Some(gpa), _) => wrong(format!("0x215000 leads to GPA {gpa:#x}, not to 0x15000.")),
        (None, _) => wrong(
            "0x215000 leads nowhere. The page directory's entry 1, at 0x12008, is for 2 MiB on.",
        ),
    }
}
