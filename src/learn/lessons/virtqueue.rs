//! A virtqueue by hand.

use super::embedded;
use crate::learn::guest::{Setup, Start};
use crate::learn::lesson::{Lesson, Verdict, number, right, wrong};
use crate::learn::steps::{Left, Record};
use crate::vm::devices::virtio::mmio::QUEUE_NOTIFY;
use crate::vm::layout::VIRTIO;

pub(in crate::learn) const LESSON: Lesson = Lesson {
    name: "virtqueue",
    summary: "read a disk by rings in memory: much data for one exit",
    before: "\
An exit a byte is slow. virtio devices share rings with the guest instead: a table of buffers, a ring in \
which the guest offers chains of them, and a ring in which the device gives them back. An access to a \
register is needed only to ring the bell. This disk is the one that duplex gives to Linux, too; it has \
one sector of text.",
    setup: Setup { start: Start::Protected, cpus: 1, controllers: false },
    embedded: embedded::VIRTQUEUE,
    question: "How many exits did the reading itself cost, without setting up the device and without `hlt`?",
    answer,
    exercise: "\
Have the guest read sector 1 as well, by a second chain in the same ring: two chains are to come back. (The \
sector's number stands in the header; the table has room for four descriptors.)",
    check,
};

fn bells(record: &Record) -> usize {
    let bell = VIRTIO.start + QUEUE_NOTIFY;
    record
        .exits()
        .filter(|left| matches!(left, Left::MmioWrite { gpa, .. } if *gpa == bell))
        .count()
}

fn answer(answer: &str, record: &Record) -> Verdict {
    match number(answer) {
        Some(1) if bells(record) == 1 => {
            right("One, for 512 bytes. By a port it would have been 512, or 128 with 4 bytes each.")
        }
        Some(512) => {
            wrong("No byte of the sector has passed a register: it lies in memory already.")
        }
        Some(_) => wrong("Find QueueNotify in the story: all exits before it are set-up."),
        None => wrong("Answer with a number, such as --answer 3."),
    }
}

fn check(record: &Record) -> Verdict {
    let used = record.steps.iter().flat_map(|step| &step.stored).filter(|word| word.size == 4);
    // The used ring's first word is its flags, 0, and above them how many chains came back.
    let returned = used.clone().any(|word| word.value == 2 << 16);
    match (bells(record), returned) {
        (1.., true) => right(format!(
            "Two sectors, and the bell was rung {}.",
            if bells(record) == 1 { "once" } else { "for each: once would have done" }
        )),
        (0, _) => wrong("The bell was never rung: store 0 to 0xd0000050."),
        _ => wrong(
            "Two chains did not come back. The available ring is flags, index, places: the index must become \
             2, and the second place holds the number of the chain's first descriptor. A table \
             with more than 4 descriptors needs a QueueNum of 8.",
        ),
    }
}
