//! Memory-mapped I/O.

use super::embedded;
use crate::learn::guest::{Setup, Start};
use crate::learn::lesson::{Lesson, Verdict, number, right, wrong};
use crate::learn::steps::{Left, Record};
use crate::vm::layout::VIRTIO;

pub(in crate::learn) const LESSON: Lesson = Lesson {
    name: "mmio",
    summary: "devices that look like memory, and memory that needs nobody",
    before: "\
Ports are old. Devices of today have their registers among the memory addresses. duplex has told KVM which \
guest-physical addresses (GPAs) are memory; the processor reaches that by itself. An access to any other \
address ends in KVM_EXIT_MMIO, with the address and the bytes.",
    setup: Setup { start: Start::Protected, cpus: 1, controllers: false },
    embedded: embedded::MMIO,
    question: "The guest makes six loads and stores. How many of them are exits?",
    answer,
    exercise: "\
Have the guest halt with the device's version in ECX and its kind in EDX: the registers at offsets 4 and 8 \
from 0xd0000000. What kind is a disk?",
    check,
};

fn answer(answer: &str, record: &Record) -> Verdict {
    let accesses = record.exits().filter(|left| is_mmio(left)).count() as u64;
    match number(answer) {
        Some(count) if count == accesses => {
            right("Two reach the memory at 0x10000; KVM finds none for the others.")
        }
        Some(6) => wrong("The two at 0x10000 are to memory: is there an EXIT beside them?"),
        Some(count) if count == accesses + 1 => wrong("`hlt` exits too, but is no load or store."),
        Some(_) => wrong("Count the lines that say EXIT, load or store."),
        None => wrong("Answer with a number, such as --answer 3."),
    }
}

fn check(record: &Record) -> Verdict {
    let read = |offset: u64| {
        let wanted = VIRTIO.start + offset;
        record.exits().any(|left| matches!(left, Left::MmioRead { gpa, .. } if *gpa == wanted))
    };
    let (ecx, edx) = (record.last.general.rcx & 0xFFFF_FFFF, record.last.general.rdx & 0xFFFF_FFFF);
    match (read(4), read(8), ecx, edx) {
        (true, true, 2, 2) => right(
            "Version 2 of the registers, and a device of kind 2: a block device (virtio 1.2, section 5).",
        ),
        (false, ..) => wrong("Nobody has read 0xd0000004."),
        (_, false, ..) => wrong("Nobody has read 0xd0000008."),
        _ => wrong(format!("Both were read, but it ends with ECX = {ecx:#x} and EDX = {edx:#x}.")),
    }
}

fn is_mmio(left: &Left) -> bool {
    matches!(left, Left::MmioRead { .. } | Left::MmioWrite { .. })
}
