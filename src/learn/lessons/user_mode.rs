//! User mode and a system call.

use super::embedded;
use crate::learn::guest::{Setup, Start};
use crate::learn::lesson::{Lesson, Verdict, names, right, wrong};
use crate::learn::steps::{Ending, Record};

const BREAKPOINT: u8 = 3;

pub(in crate::learn) const LESSON: Lesson = Lesson {
    name: "user-mode",
    summary: "code that may do less, and the system call by which it asks for more",
    before: "\
A program in a container shares the kernel with its neighbours: the wall is the border between user mode and \
kernel, which this guest builds for itself. In a VM there is a second wall behind it: also the guest's kernel \
may do only what KVM lets it.",
    setup: Setup { start: Start::Long, cpus: 1, controllers: false },
    embedded: embedded::USER_MODE,
    question: "Who takes the system call: KVM, duplex or the guest's kernel?",
    answer,
    exercise: "\
Add a system call: with 2 in EAX the kernel is to return the sum of RDI and RSI in RAX. Call it from user \
mode with 30 and 12, and print what comes back as a character before the call that ends.",
    check,
};

fn answer(answer: &str, _: &Record) -> Verdict {
    if names(answer, &["guest", "guests", "kernel"]) && !names(answer, &["kvm", "duplex", "host"]) {
        return right(
            "The guest's own kernel. A system call in a VM costs no exit, which is why many programs run there \
             as fast as without.",
        );
    }
    wrong(
        "Is there an EXIT beside `int3`? Which address does it lead to, and who has put that there?",
    )
}

fn check(record: &Record) -> Verdict {
    let calls: Vec<_> = record
        .steps
        .iter()
        .filter(|step| step.delivered.is_some_and(|it| it.vector == BREAKPOINT && it.from_user))
        .map(|step| (step.after.general.rax, step.after.general.rdi, step.after.general.rsi))
        .collect();
    let asked = calls.iter().position(|call| *call == (2, 30, 12));
    let told = calls.iter().position(|(call, character, _)| (*call, *character) == (1, 42));
    match (asked, told, record.ending) {
        (None, ..) => {
            wrong("No `int3` with 2 in EAX, 30 in RDI and 12 in RSI is made from user mode.")
        }
        (Some(_), None, _) => wrong(
            "The call is made, but 42 does not come back to be printed. `lea (%rdi,%rsi), %rax` adds without \
             touching anything else; `iretq` goes back.",
        ),
        (Some(asked), Some(told), Ending::Halted) if asked < told => {
            right("42 is an asterisk. User mode got it from its kernel, and nobody else noticed.")
        }
        _ => wrong("It is to come to its `hlt` in the end, by the call with 0 in EAX."),
    }
}
