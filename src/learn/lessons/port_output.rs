//! Port I/O.

use super::embedded;
use crate::learn::guest::{Setup, Start};
use crate::learn::lesson::{Lesson, Verdict, number, right, wrong};
use crate::learn::steps::{Left, Record};

pub(in crate::learn) const LESSON: Lesson = Lesson {
    name: "port-output",
    summary: "a device at an I/O port: every access is an exit that duplex answers",
    before: "\
A guest believes that there are devices. What it does to them, duplex must see: KVM lets no access to a \
port through, but returns from KVM_RUN with KVM_EXIT_IO, the port, and the bytes. duplex looks up who is at \
that port, has that device do what a real one would, and enters the guest again.",
    setup: Setup { start: Start::Real, cpus: 1, controllers: false },
    embedded: embedded::PORT_OUTPUT,
    question: "How many exits would \"Hello, world\" and a newline cost, written like this?",
    answer,
    exercise: "Have the guest say \"hello\" and a newline, with one `rep outsb` and no other `out`.",
    check,
};

fn answer(answer: &str, _: &Record) -> Verdict {
    match number(answer) {
        Some(13) => right(
            "An exit a byte. That is why Linux says much less on a serial port than it could, and why \
             virtio was invented: see the lesson virtqueue.",
        ),
        Some(12) => wrong("The newline is a byte like the others."),
        Some(14) => wrong("Only the bytes: `hlt` is not part of the text."),
        Some(_) => {
            wrong("Each `out` above is beside one EXIT. Count the letters, comma and space too.")
        }
        None => wrong("Answer with a number, such as --answer 3."),
    }
}

fn check(record: &Record) -> Verdict {
    let outs: Vec<_> = record.steps.iter().filter(|step| step.left.iter().any(is_output)).collect();
    let places: std::collections::HashSet<_> = outs.iter().map(|step| step.gpa).collect();
    match record.text().as_str() {
        "hello\n" if places.len() == 1 => right(format!(
            "One instruction, and yet {} exits: `rep` saves instructions, not exits.",
            outs.len()
        )),
        "hello\n" => wrong(format!(
            "It says so, but by {} different instructions: SI is where the text is, CX how many bytes.",
            places.len()
        )),
        "hello" => wrong("The newline at the end is missing."),
        "" => wrong("Nothing came out: is DX 0x3f8, and does SI lead to the text (DS is 0)?"),
        text => wrong(format!("It says {text:?}. Does SI lead to the text, and is CX its length?")),
    }
}

fn is_output(left: &Left) -> bool {
    matches!(left, Left::PortOut { .. })
}
