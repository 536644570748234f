//! The table as a program that the kernel runs at every system call, seccomp(2).

use super::Answers;
use super::assembler::{Assembler, Comparison, Label};
use super::table::{Condition, Verdict, Verdicts};

/// Offsets into `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// AUDIT_ARCH_X86_64: 64-bit, little endian, ELF machine 62.
const X86_64: u32 = 0xc000_003e;

/// The program that gives these verdicts.
///
/// The numbers are cut into spans of the same verdict, and the span of a call is found by bisection:
/// the workload pays for every step. So does the start: when a filter is installed, the kernel (since
/// Linux 5.11) runs it for every number, to remember which are always allowed. So spans are divided
/// where the numbers are halved: the longer the span, the fewer the steps.
pub(super) fn compile(verdicts: &Verdicts, answers: Answers) -> Vec<libc::sock_filter> {
    let mut compiler = Compiler { program: Assembler::default(), verdicts, answers };
    let spans = spans(&verdicts.by_number);
    let end = spans.last().map_or(0, |last| last.first + 1);
    let decide = compiler.bisect(&spans, end);
    let mut program = compiler.program;
    let decide = program.load(NUMBER, decide);
    // 32-bit calls have other numbers. A program that makes them would have no use for any answer,
    // and a shell names the signal. x32 calls are of this architecture, with numbers above all
    // others: unknown, as on kernels without them.
    let foreign = program.answer(libc::SECCOMP_RET_KILL_PROCESS);
    let start = program.branch(Comparison::Equal, X86_64, decide, foreign);
    program.load(ARCHITECTURE, start);
    program.finish()
}

/// Calls with successive numbers and the same verdict.
struct Span {
    first: u32,
    verdict: Verdict,
}

/// All of them, in the order of their numbers; the last has no end.
fn spans(verdicts: &[Verdict]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::with_capacity(128);
    for (first, &verdict) in (0..).zip(verdicts.iter().chain([&Verdict::Unlisted])) {
        // Each has conditions of its own.
        let conditional = verdict == Verdict::Conditional;
        if conditional || spans.last().is_none_or(|last| last.verdict != verdict) {
            spans.push(Span { first, verdict });
        }
    }
    spans
}

struct Compiler<'a> {
    program: Assembler,
    verdicts: &'a Verdicts,
    answers: Answers,
}

impl Compiler<'_> {
    /// Decides on the numbers of these spans, the last of which ends before `end`.
    fn bisect(&mut self, spans: &[Span], end: u32) -> Label {
        let middle = spans.first().map_or(0, |span| span.first).midpoint(end);
        let spans_after_the_first = spans.iter().enumerate().skip(1);
        let nearest = spans_after_the_first.min_by_key(|(_, span)| span.first.abs_diff(middle));
        match nearest {
            Some((index, &Span { first, .. })) => {
                let (below, above) = spans.split_at(index);
                let above = self.bisect(above, end);
                let below = self.bisect(below, first);
                self.program.branch(Comparison::AtLeast, first, above, below)
            }
            None => self.decide(spans.first()),
        }
    }

    fn decide(&mut self, span: Option<&Span>) -> Label {
        let Answers { refused, unknown } = self.answers;
        let refused = libc::SECCOMP_RET_ERRNO | u32::from(refused);
        let unknown = libc::SECCOMP_RET_ERRNO | u32::from(unknown);
        match span {
            Some(Span { verdict: Verdict::Allowed, .. }) => {
                self.program.answer(libc::SECCOMP_RET_ALLOW)
            }
            Some(Span { verdict: Verdict::Refused, .. }) => self.program.answer(refused),
            Some(Span { verdict: Verdict::Conditional, first }) => {
                let refused = self.program.answer(refused);
                let conditions = self.verdicts.conditions_on(*first);
                conditions.fold(refused, |otherwise, one| check(&mut self.program, one, otherwise))
            }
            Some(Span { verdict: Verdict::Unknown | Verdict::Unlisted, .. }) | None => {
                self.program.answer(unknown)
            }
        }
    }
}

/// Allows the call if the condition is met.
fn check(program: &mut Assembler, condition: Condition, otherwise: Label) -> Label {
    let allow = program.answer(libc::SECCOMP_RET_ALLOW);
    let (argument, branch) = match condition {
        Condition::OneOf(argument, values) => (argument, any_of(program, values, allow, otherwise)),
        Condition::NoneOf(argument, values) => {
            (argument, any_of(program, values, otherwise, allow))
        }
        Condition::Lacks(argument, bits) => {
            (argument, program.branch(Comparison::Shares, bits, otherwise, allow))
        }
    };
    // The low half comes first.
    program.load(ARGUMENTS + 8 * u32::from(argument), branch)
}

fn any_of(program: &mut Assembler, values: &[u32], yes: Label, no: Label) -> Label {
    values.iter().rev().fold(no, |no, &value| program.branch(Comparison::Equal, value, yes, no))
}
