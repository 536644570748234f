//! `duplex learn`: lessons that show how a VM works.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use crate::cli::testbed_mode::TestbedMode;
use crate::cli::{debugger, report, say};
use crate::learn::catalogue::{self, LESSONS};
use crate::learn::guest::{self, Start};
use crate::learn::lesson::{Lesson, Verdict, judge};
use crate::learn::program::Program;
use crate::learn::steps::Record;
use crate::learn::{narration, runner};
use crate::testbed;
use crate::trace::boot::Recorder;
use crate::vm::console::Console;
use crate::vm::end::End;
use crate::vm::gdb::View;
use crate::vm::gdb::listener::Address;
use crate::vm::kvm;
use crate::vm::machine::Machine;
use crate::vm::session::{self, Signals};
use crate::workload::Serial;

mod container;

/// What the lessons about containers are called together.
const CONTAINER: &str = "container";
/// How wide text runs.
const WIDTH: usize = 98;
/// A wrong answer, or an exercise that does not do what is asked.
const WRONG: u8 = 1;

/// See a VM work: small guests, told exit by exit beside their own source
///
/// Each lesson is a guest of a few instructions that runs on this host's KVM, an instruction at a time; what
/// is told is what really happened. It ends with a question and an exercise, and both are checked.
/// Without a name the lessons are listed.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  duplex learn                                 the lessons
  duplex learn halt                            the first one
  duplex learn halt --answer 3                 answer its question
  duplex learn halt --source > my.s            then change my.s, and
  duplex learn halt --run my.s                 see what it does now
  duplex learn halt --check my.s               is the exercise solved?
  duplex learn container                       the lessons about containers
  duplex learn halt --gdb 1234                 step it with: gdb -ex 'target remote :1234'

Exit status: 0, 1 for a wrong answer or an exercise that is not solved yet, 125 when duplex fails.")]
pub(in crate::cli) struct Args {
    /// The lesson, by its name or number; or container, for those about containers
    #[arg(value_name = "LESSON")]
    name: Option<String>,
    /// With container: the lesson about containers, by its name or number
    #[arg(value_name = "PART", requires = "name")]
    part: Option<String>,
    /// Print the guest's source
    #[arg(long, requires = "name", group = "what")]
    source: bool,
    /// Run this guest instead: assembly source, an object file of `as`, or bare machine code
    #[arg(long, value_name = "FILE", requires = "name", group = "what")]
    run: Option<PathBuf>,
    /// Answer the lesson's question
    #[arg(
        long,
        value_name = "TEXT",
        requires = "name",
        group = "what",
        allow_hyphen_values = true
    )]
    answer: Option<String>,
    /// Check whether this guest solves the lesson's exercise
    #[arg(long, value_name = "FILE", requires = "name", group = "what")]
    check: Option<PathBuf>,
    /// Have the guest stand still until GDB connects, instead of telling its story: at a port of this host's
    /// loopback, or at a Unix socket with a / in its name
    #[arg(long, value_name = "PORT|PATH", requires = "name", conflicts_with_all = ["source", "answer", "check"])]
    gdb: Option<Address>,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Whether to run the guest in the testbed: auto does where this host has no KVM at all
    #[arg(long, value_enum, value_name = "WHEN", env = "DUPLEX_TESTBED", default_value = "auto")]
    #[arg(overrides_with = "testbed")]
    testbed: TestbedMode,
}

/// Runs it and returns the exit status.
pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let Some(name) = &args.name else {
        list(args.json)?;
        return Ok(ExitCode::SUCCESS);
    };
    if name == CONTAINER {
        return container::run(args);
    }
    if args.part.is_some() {
        return Err(format!(
            "only 'duplex learn {CONTAINER}' has parts: leave the second name away"
        )
        .into());
    }
    let (number, lesson) = catalogue::find(name)
        .ok_or_else(|| format!("there is no lesson {name:?}: 'duplex learn' lists them"))?;
    if args.source {
        write!(std::io::stdout().lock(), "{}", lesson.embedded.source)?;
        return Ok(ExitCode::SUCCESS);
    }
    let file = args.run.as_deref().or(args.check.as_deref());
    // What is wrong with a file is said before any machine starts.
    let program = match file {
        Some(file) => Program::open(file)?,
        None => Program::embedded(&lesson.embedded)?,
    };
    if let (Some(address), None) = (&args.gdb, needs_testbed(args.testbed)) {
        return debug(&program, lesson, address);
    }
    if let Some(reason) = needs_testbed(args.testbed) {
        if let Some(address) = &args.gdb {
            debugger::check_testbed(address)?;
        }
        return in_testbed(file, &reason);
    }
    let record = runner::run(&program, lesson.setup)?;
    if let Some(answer) = &args.answer {
        let check = |answer: &str| (lesson.answer)(answer, &record);
        return verdict(judge(answer, check), args.json);
    }
    if args.check.is_some() {
        return verdict((lesson.check)(&record), args.json);
    }
    let text = if args.json {
        as_json(lesson, &program, &record)?
    } else {
        as_text(number, lesson, &program, &record, args.run.is_some())
    };
    write!(std::io::stdout().lock(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}

/// Lessons run wherever KVM answers, with or without hardware virtualization.
fn needs_testbed(mode: TestbedMode) -> Option<String> {
    match mode {
        TestbedMode::Auto => kvm::open(Path::new(kvm::DEVICE)).err().map(|error| error.to_string()),
        other => other.reason(false),
    }
}

/// Runs the guest under a debugger, on a machine as `duplex boot` makes them.
fn debug(
    program: &Program,
    lesson: &Lesson,
    address: &Address,
) -> Result<ExitCode, Box<dyn Error>> {
    let signals = Signals::take()?;
    let mut console = Console::open(&Serial::Stdio, &Serial::Off)?;
    let recorder = Arc::new(Recorder::start_now());
    let setup = lesson.setup;
    let plan = program.plan(setup.start)?;
    let (device, cpus) = (Path::new(kvm::DEVICE), setup.cpus.to_string().parse()?);
    let disk = guest::disk()?;
    let mut machine =
        Machine::build(device, &plan, cpus, vec![disk], console.serial(), recorder.clone())?;
    let view = match setup.start {
        Start::Real => View::Real,
        Start::Protected => View::Protected,
        Start::Long => View::Long,
    };
    debugger::attach(&mut machine, address, None, view)?;
    let outcome = session::run(machine, &mut console, &signals, &recorder)?;
    session::finish(&console, &signals, &outcome.end);
    drop(console);
    match outcome.end {
        End::Halted | End::PowerOff | End::Reset | End::Quit | End::TripleFault(_) => {
            Ok(ExitCode::SUCCESS)
        }
        End::Signal(number) => Ok(128_u8.saturating_add(u8::try_from(number).unwrap_or(0)).into()),
        end => Err(end.to_string().into()),
    }
}

/// The same command in the testbed.
fn in_testbed(file: Option<&Path>, reason: &str) -> Result<ExitCode, Box<dyn Error>> {
    say(format_args!("running the lesson in the testbed ({reason})"));
    let mut command = vec![std::env::current_exe()?.into_os_string()];
    command.extend(std::env::args_os().skip(1));
    command.extend(["--testbed".into(), "never".into()]);
    let mut session = crate::cli::session(command)?;
    session.inputs.extend(file.map(Path::to_owned));
    match testbed::run(&session) {
        Ok(outcome) => Ok(outcome.status.into()),
        Err(error) => {
            say(&error);
            Ok(error.exit_status().into())
        }
    }
}

fn list(json: bool) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    if json {
        let lessons: Vec<_> = (1..)
            .zip(&LESSONS)
            .map(|(number, lesson)| {
                json!({"number": number, "name": lesson.name, "summary": lesson.summary})
            })
            .collect();
        serde_json::to_writer_pretty(&mut out, &lessons)?;
        writeln!(out)?;
        return Ok(());
    }
    let mut table = crate::cli::table(&["", "LESSON", "WHAT IT SHOWS"]);
    for (number, lesson) in (1..).zip(&LESSONS) {
        table.add_row([number.to_string(), lesson.name.into(), lesson.summary.into()]);
    }
    table.add_row(["", CONTAINER, "six lessons about containers"]);
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn as_text(
    number: usize,
    lesson: &Lesson,
    program: &Program,
    record: &Record,
    own: bool,
) -> String {
    let mut text = String::new();
    if !own {
        text += &format!("Lesson {number}: {}\n\n{}\n", lesson.summary, wrapped(lesson.before));
        text.push('\n');
    }
    text += &narration::text(program, record);
    let _ = write!(text, "\n{}", wrapped(&narration::summary(record)));
    if !own {
        let name = lesson.name;
        let question = format!("Question: {}", lesson.question);
        let exercise = format!("Exercise: {}", lesson.exercise);
        let _ = write!(
            text,
            "\n{}    duplex learn {name} --answer TEXT\n\n{}    duplex learn {name} --source > my.s\n    \
             duplex learn {name} --check my.s\n",
            wrapped(&question),
            wrapped(&exercise)
        );
    }
    text
}

fn as_json(lesson: &Lesson, program: &Program, record: &Record) -> serde_json::Result<String> {
    let value = json!({
        "lesson": lesson.name,
        "steps": narration::tell(program, record),
        "ending": record.ending,
        "exits": record.exit_count(),
        "output": record.text(),
        "question": lesson.question,
        "exercise": lesson.exercise,
    });
    Ok(serde_json::to_string_pretty(&value)? + "\n")
}

fn verdict(verdict: Verdict, json: bool) -> Result<ExitCode, Box<dyn Error>> {
    let (right, text) = match verdict {
        Verdict::Right(why) => (true, why),
        Verdict::Wrong(hint) => (false, hint),
    };
    if json {
        writeln!(std::io::stdout().lock(), "{}", json!({"right": right, "text": text}))?;
    } else if right {
        write!(std::io::stdout().lock(), "{}", wrapped(&format!("Right. {text}")))?;
    } else {
        report(wrapped(&format!("Not yet. {text}")));
    }
    Ok(if right { ExitCode::SUCCESS } else { WRONG.into() })
}

/// Text in lines that are not too long.
fn wrapped(text: &str) -> String {
    let mut wrapped = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let letters = word.chars().count();
        if column > 0 && column + 1 + letters > WIDTH {
            wrapped.push('\n');
            column = 0;
        }
        if column > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += letters;
    }
    wrapped + "\n"
}
