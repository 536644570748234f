//! An interrupt and a timer.

use super::embedded;
use crate::learn::guest::{Setup, Start};
use crate::learn::lesson::{Lesson, Verdict, number, right, wrong};
use crate::learn::steps::{Left, Record};

const TICK: u8 = 0x40;

pub(in crate::learn) const LESSON: Lesson = Lesson {
    name: "timer",
    summary: "an interrupt wakes a processor that sleeps; duplex does not notice",
    before: "\
Interrupts were once a matter for the virtual machine monitor. Today KVM plays the interrupt controllers in \
the host's kernel, because each trip to user space takes time: a timer that ticks a thousand times a second \
would cost thousands of exits. What KVM does, the narration can only see by looking at its registers.",
    setup: Setup { start: Start::Long, cpus: 1, controllers: true },
    embedded: embedded::TIMER,
    question: "How many exits to duplex did setting the timer, sleeping and waking up cost?",
    answer,
    exercise: "Have the timer tick three times, and the guest say TTT. (Bit 17 of its vector: periodic.)",
    check,
};

fn answer(answer: &str, record: &Record) -> Verdict {
    let exits = record.exit_count() as u64;
    match number(answer) {
        Some(0) => right("KVM did it all: local APIC, timer, and even the `hlt`."),
        Some(count) if count == exits => {
            wrong("That one is the serial port's: see which line it stands beside.")
        }
        Some(_) => wrong("Is there an EXIT beside the stores to 0xfee00000, or beside `hlt`?"),
        None => wrong("Answer with a number, such as --answer 3."),
    }
}

fn check(record: &Record) -> Verdict {
    let ticks = record.count_of(TICK);
    let said = record.exits().filter(|left| matches!(left, Left::PortOut { .. })).count();
    let text = record.text();
    match (text.as_str(), ticks) {
        // Stepped, it may be slower than its timer.
        (text, 3..) if text.starts_with("TTT") && text.trim_matches('T').is_empty() => {
            right(format!("{ticks} interrupts, {said} exits: those of the serial port."))
        }
        ("TTT", _) => wrong(format!("It says TTT, but vector 0x40 came {ticks} times.")),
        ("T", _) => wrong(
            "One T: a one-shot timer does not tick again (0x20040 is periodic), and behind the first `hlt` \
             there must be more of them.",
        ),
        (_, 0) => wrong("Vector 0x40 never came."),
        (text, _) => wrong(format!("It says {text:?}, by {said} exits.")),
    }
}
