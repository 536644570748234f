//! A run as a story: each instruction beside its source line, with what it did.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::facts;
use super::program::Program;
use super::runner::MOST_STEPS;
use super::steps::{Ending, Left, Record, Step};
use crate::trace::devices::DeviceMap;

/// How often an instruction is shown that is executed again and again.
const SHOWN_ROUNDS: usize = 2;
/// How many steps are shown in all.
const SHOWN_STEPS: usize = 300;
/// The width of the source beside which the facts stand.
const SOURCE_WIDTH: usize = 34;
/// The most letters of a line.
const WIDEST: usize = 118;

/// A step as it is told.
#[derive(Debug, Serialize)]
pub struct Told {
    /// The processor.
    pub cpu: usize,
    /// The source line, counted from 1.
    pub line: Option<u32>,
    /// The guest-physical address of the instruction.
    pub address: Option<u64>,
    /// The instruction as it stands in the source; its bytes where there is none.
    pub source: String,
    /// The exits to duplex.
    pub exits: Vec<Left>,
    /// What it did.
    pub facts: Vec<String>,
}

/// Tells every step.
pub fn tell(program: &Program, record: &Record) -> Vec<Told> {
    record.steps.iter().map(|step| told(program, record, step)).collect()
}

fn told(program: &Program, record: &Record, step: &Step) -> Told {
    let line = step.gpa.and_then(|gpa| program.line_at(gpa));
    let source = match line {
        Some(line) => program.text(line).to_owned(),
        None => bytes_at(record, step.gpa),
    };
    let mut facts = facts::facts(step);
    facts.extend(goes_on(program, step, line));
    Told { cpu: step.cpu, line, address: step.gpa, source, exits: step.left.clone(), facts }
}

/// The first bytes at an address: how many of them the instruction has is not known.
fn bytes_at(record: &Record, gpa: Option<u64>) -> String {
    let Some(gpa) = gpa else { return "an address that nothing is mapped at".into() };
    let start = usize::try_from(gpa).unwrap_or(usize::MAX);
    let bytes = record.memory.get(start..start.saturating_add(6));
    let Some(bytes) = bytes else { return format!("{gpa:#x}: no memory") };
    let bytes: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{gpa:#x}: {} …", bytes.join(" "))
}

/// Where it goes on, where that is not the next line.
fn goes_on(program: &Program, step: &Step, line: Option<u32>) -> Option<String> {
    let ends = |left: &Left| matches!(left, Left::Halt | Left::Shutdown | Left::InternalError);
    if step.left.iter().any(ends) || step.slept && step.delivered.is_none() {
        return None;
    }
    let address = step.after.system.cs.base.wrapping_add(step.after.general.rip);
    let next = program.line_at(address);
    let expected = [line, step.gpa.and_then(|gpa| program.line_after(gpa))];
    match next {
        Some(next) if !expected.contains(&Some(next)) => Some(format!("goes on at line {next}")),
        None if line.is_some() => Some(format!("goes on at {address:#x}")),
        _ => None,
    }
}

/// The story as text.
pub fn text(program: &Program, record: &Record) -> String {
    let several = record.steps.iter().any(|step| step.cpu > 0);
    let mut text = Text {
        program,
        devices: &record.devices,
        several,
        out: String::new(),
        exits: 0,
        shown: 0,
        told: HashSet::new(),
        folded: Folded::default(),
    };
    let mut visits = HashMap::new();
    for (step, told) in record.steps.iter().zip(tell(program, record)) {
        let rounds = visits.entry((step.cpu, step.gpa)).or_insert(0_usize);
        *rounds += 1;
        text.step(step, &told, *rounds);
    }
    text.unfold();
    text.out
}

/// Steps that are not shown one by one.
#[derive(Default)]
struct Folded {
    steps: usize,
    exits: usize,
    lines: Option<(u32, u32)>,
}

struct Text<'a> {
    program: &'a Program,
    devices: &'a DeviceMap,
    several: bool,
    out: String,
    exits: usize,
    /// How many steps were shown.
    shown: usize,
    /// The lines whose comments were shown.
    told: HashSet<u32>,
    folded: Folded,
}

impl Text<'_> {
    fn step(&mut self, step: &Step, told: &Told, rounds: usize) {
        if rounds > SHOWN_ROUNDS || self.shown >= SHOWN_STEPS {
            self.exits += told.exits.len();
            self.folded.steps += 1;
            self.folded.exits += told.exits.len();
            if let Some(line) = told.line {
                let (low, high) = self.folded.lines.unwrap_or((line, line));
                self.folded.lines = Some((low.min(line), high.max(line)));
            }
            return;
        }
        self.unfold();
        self.shown += 1;
        if let Some(line) = told.line.filter(|line| self.told.insert(*line)) {
            let above = self.program.above(line);
            if !above.is_empty() {
                let first = self.out.is_empty();
                self.out.push_str(if first { "" } else { "\n" });
            }
            for comment in above {
                self.line("", comment.trim_end(), "");
            }
        }
        let exits = told.exits.iter().map(|left| {
            self.exits += 1;
            format!("EXIT {}: {}", self.exits, facts::left(left, self.devices))
        });
        let facts: Vec<String> = exits.chain(told.facts.iter().cloned()).collect();
        let number = told.line.map(|line| line.to_string()).unwrap_or_default();
        let number = if self.several { format!("cpu{} {number:>3}", step.cpu) } else { number };
        let room = self.room();
        let mut facts = facts.iter().flat_map(|fact| wrap(fact, room));
        self.line(&number, &told.source, &facts.next().unwrap_or_default());
        for fact in facts {
            self.line("", "", &fact);
        }
    }

    fn margin(&self) -> usize {
        if self.several { 8 } else { 4 }
    }

    /// How wide the facts can be.
    fn room(&self) -> usize {
        WIDEST - SOURCE_WIDTH - self.margin() - 4
    }

    fn line(&mut self, number: &str, source: &str, fact: &str) {
        let margin = self.margin();
        let line = if fact.is_empty() {
            format!(
                "{number:>margin$}  {}",
                if number.is_empty() { source.into() } else { squeezed(source) }
            )
        } else {
            format!("{number:>margin$}  {:SOURCE_WIDTH$}  {fact}", squeezed(source))
        };
        self.out.push_str(line.trim_end());
        self.out.push('\n');
    }

    fn unfold(&mut self) {
        let Folded { steps, exits, lines } = std::mem::take(&mut self.folded);
        if steps == 0 {
            return;
        }
        let place = match lines {
            Some((low, high)) if low == high => format!(" of line {low}"),
            Some((low, high)) => format!(" of lines {low} to {high}"),
            None => String::new(),
        };
        let exits = match exits {
            0 => String::new(),
            1 => ", 1 exit among them".into(),
            exits => format!(", {exits} exits among them"),
        };
        let more = if steps == 1 { "instruction" } else { "instructions" };
        let margin = self.margin();
        self.out.push_str(&format!("{:>margin$}  {steps} {more} more{place}{exits}\n", "⋮"));
    }
}

/// An instruction with one space between its words, so that facts stand close to it.
fn squeezed(source: &str) -> String {
    let mut words = source.split_whitespace();
    let first = words.next().unwrap_or_default();
    let rest: Vec<_> = words.collect();
    if rest.is_empty() { first.into() } else { format!("{first:7} {}", rest.join(" ")) }
}

/// Breaks a fact into lines, the further ones indented.
fn wrap(fact: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in fact.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        if !line.trim().is_empty() && line.chars().count() + 1 + word.chars().count() > room {
            lines.push(format!("  {word}"));
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// How it ended, and what it took.
pub fn summary(record: &Record) -> String {
    let count = |number: usize, what: &str| {
        format!("{number} {what}{}", if number == 1 { "" } else { "s" })
    };
    let ending = match record.ending {
        Ending::Halted => "Halted, and nothing can wake it".to_owned(),
        Ending::PoweredOff => "Powered off".into(),
        Ending::TripleFault => "A triple fault".into(),
        Ending::NotExecuted => {
            "KVM cannot execute the last instruction (on a host without hardware virtualization it lacks \
             some, `int` among them)"
                .into()
        }
        Ending::TooManySteps => {
            format!("Stopped after {MOST_STEPS} instructions: a loop without end?")
        }
        Ending::TimeUp if record.steps.last().is_some_and(|step| step.slept) => {
            "Stopped when its time was up: it waits for an interrupt that does not come".into()
        }
        Ending::TimeUp => "Stopped when its time was up".into(),
    };
    let (steps, exits) =
        (count(record.steps.len(), "instruction"), count(record.exit_count(), "exit"));
    let stop = if ending.ends_with('?') { "" } else { "." };
    let mut text = format!("{ending}{stop} {steps}, {exits} to duplex");
    let shown: String = record.text().chars().flat_map(char::escape_debug).collect();
    if !shown.is_empty() {
        text.push_str(&format!("; the serial port said \"{shown}\""));
    }
    text.push_str(".\n");
    text
}
