//! What CPUID hides.

use super::embedded;
use crate::learn::guest::{Setup, Start};
use crate::learn::lesson::{Lesson, Verdict, number, right, wrong};
use crate::learn::steps::Record;

pub(in crate::learn) const LESSON: Lesson = Lesson {
    name: "cpuid",
    summary: "what the processor says it is, and what the hypervisor has changed",
    before: "\
CPUID is how software asks a processor what it can. In a VM KVM answers, from a table that duplex has given \
it before the start: what the host's processor and KVM can both do, without what a guest is not to have. A \
kernel that trusts it never tries what would fail.",
    setup: Setup { start: Start::Long, cpus: 1, controllers: true },
    embedded: embedded::CPUID,
    question: "By which bit of ECX in leaf 1 does a kernel notice that it is in a VM?",
    answer,
    exercise: "\
Have the guest say the hypervisor's name, the twelve letters in EBX, ECX and EDX of leaf 0x40000000, on the \
serial port. (`out` takes AL; a shift by 8 brings the next letter.)",
    check,
};

fn answer(answer: &str, _: &Record) -> Verdict {
    match number(answer) {
        Some(31) => right(
            "Bit 31: no processor ever sets it. A kernel that finds it asks leaf 0x40000000 for more.",
        ),
        Some(5) => wrong("Bit 5 is VMX: whether the guest could run VMs itself."),
        Some(_) => wrong("See by how much the guest shifts ECX behind leaf 1."),
        None => wrong("Answer with the bit's number, such as --answer 3."),
    }
}

fn check(record: &Record) -> Verdict {
    let text = record.text();
    match text.trim_end() {
        "KVMKVMKVM" | "KVMKVMKVM\0\0\0" => right("KVMKVMKVM, and three zeroes."),
        "" => wrong("Nothing came out of port 0x3f8."),
        text if "KVMKVMKVM".starts_with(text) => wrong(format!(
            "{text:?} is only its beginning: four letters a register, EBX first, then ECX and EDX."
        )),
        text => wrong(format!("It says {text:?}. The lowest byte of EBX is the first letter.")),
    }
}
