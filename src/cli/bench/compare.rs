//! `duplex bench compare`: what changed between two runs beyond noise.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::bench::compare::{By, Change, Comparison, Verdict, compare};
use crate::bench::report::read;
use crate::bench::report::terminal::Look;
use crate::bench::report::text::{ascii, wrapped};
use crate::bench::report::words;
use crate::bench::results::Results;

/// Columns of a terminal that are used.
const WIDTH: usize = 80;

/// Say what changed between two runs beyond noise
///
/// A figure has changed when the 95 % intervals of both runs do not overlap, and its change lies beyond the tolerance
/// with such confidence that all figures together raise a false alarm in 1 of 20 comparisons. Ratios to the baseline
/// are compared where both runs have them: a machine that was busier, or is another, does not count. Values are
/// compared on the same machine only, or where instructions were counted.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  duplex bench compare before/report.json after/report.json
  duplex bench compare --tolerance 5 A.json B.json || echo slower
  duplex bench compare --json A.json B.json | jq '.changes[] | select(.verdict == \"worse\")'

Exit status: 0 when nothing got worse, 1 when something did, 125 when they can't be compared.")]
pub(super) struct Args {
    /// The report.json of the run before
    #[arg(value_name = "A.json")]
    before: PathBuf,
    /// The report.json of the run after
    #[arg(value_name = "B.json")]
    after: PathBuf,
    /// Changes up to so many percent are none
    #[arg(long, value_name = "PERCENT", default_value_t = 2.0, value_parser = percent)]
    tolerance: f64,
    /// All figures that both have, as JSON
    #[arg(long)]
    json: bool,
}

fn percent(text: &str) -> Result<f64, String> {
    let number: Result<f64, _> = text.parse();
    number
        .ok()
        .filter(|number| (0.0..=1000.0).contains(number))
        .ok_or("give a number from 0 to 1000".into())
}

/// Compares; returns whether something got worse as the exit status.
pub(super) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let before = read::document(&args.before)?;
    let after = read::document(&args.after)?;
    let (first, second) = (args.before.display(), args.after.display());
    let found = compare(&before, &after, args.tolerance / 100.0)
        .map_err(|reason| format!("cannot compare {first} with {second}: {reason}"))?;
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &found)?;
        writeln!(out)?;
    } else {
        let text = text(&found, [&before, &after]);
        let text = if Look::of_stdout().unicode { text } else { ascii(&text) };
        write!(out, "{text}")?;
    }
    Ok(if found.is_worse() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn text(found: &Comparison, runs: [&Results; 2]) -> String {
    let mut text = String::new();
    let mut say =
        |what: &str, indent: &str| text.push_str(&wrapped(&words::plain(what), WIDTH, indent));
    for (which, run) in ["first", "second"].iter().zip(runs) {
        say(&format!("{which}: {}, {} rounds, duplex {}", run.started, run.runs, run.duplex), "");
    }
    if !found.same_machine {
        say(
            "They are of different machines: compared by ratios, and by instructions, alone.",
            "! ",
        );
    }
    for note in &found.notes {
        say(note, "! ");
    }
    for finding in &found.findings {
        say(&format!("otherwise now: {finding}"), "");
    }
    for (verdict, word) in [(Verdict::Better, "better"), (Verdict::Worse, "WORSE")] {
        for change in found.changes.iter().filter(|change| change.verdict == verdict) {
            say(&format!("{word}: {}", described(change)), "");
            say(&how_much(change), "    ");
        }
    }
    for failed in &found.failed {
        say(&format!("FAILED now: {failed}"), "");
    }
    say(&sum(found), "");
    text
}

fn described(change: &Change) -> String {
    format!("{}, {} of {}", change.table, words::metric(&change.metric), change.contender)
}

fn how_much(change: &Change) -> String {
    let [before, after] = [change.before, change.after].map(|value| match change.by {
        By::Ratio => format!("{} times the baseline", words::digits(value)),
        By::Value => words::figure(value, change.unit),
    });
    let times = change.times.map(|times| format!(": {} times as much", words::ratio(&times)));
    format!("{before}, then {after}{}", times.unwrap_or_default())
}

fn sum(found: &Comparison) -> String {
    let counts = [
        (found.count(Verdict::Worse), "worse"),
        (found.count(Verdict::Better), "better"),
        (found.count(Verdict::Same), "not changed beyond noise"),
        (found.count(Verdict::TooFewRounds), "with too few rounds to tell"),
        (found.failed.len(), "failed"),
    ];
    let told = counts.iter().filter(|(count, _)| *count > 0);
    let told: Vec<_> = told.map(|(count, what)| format!("{count} {what}")).collect();
    format!("{} figures: {}.", found.changes.len() + found.failed.len(), told.join(", "))
}
