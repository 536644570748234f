//! `duplex ps`: the instances that there are.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use super::harmless;
use crate::instances::{self, About, Half, Status, now};

/// How much of a command is shown to people, in characters.
const LONGEST: usize = 40;

/// List the instances that run, in either half
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  duplex ps
  duplex ps --all                               also those that have ended
  duplex rm $(duplex ps --all --quiet)")]
pub(super) struct Args {
    /// Also those that have ended
    #[arg(long, short)]
    all: bool,
    /// Only the names
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// An instance, for programs.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    about: &'a About,
    status: &'static str,
    exit_status: Option<u8>,
}

/// Lists them.
pub(super) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let mut listed = Vec::new();
    for found in instances::all()? {
        let status = found.status()?;
        if args.all || !matches!(status, Status::Ended(_)) {
            listed.push((found.about, status));
        }
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        let rows: Vec<_> = listed.iter().map(|(about, status)| row(about, status)).collect();
        serde_json::to_writer_pretty(&mut out, &rows)?;
        writeln!(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.quiet {
        for (about, _) in listed {
            writeln!(out, "{}", about.name)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = super::table(&["NAME", "HALF", "IMAGE", "COMMAND", "STATUS"]);
    for (about, status) in listed {
        let command = shortened(&about.command.join(" "));
        let status = in_words(&about, &status);
        let half = match about.half {
            Half::Vm => "vm",
            Half::Container => "container",
        };
        let image = harmless(&about.image.display().to_string());
        table.add_row([about.name, half.into(), image, command, status]);
    }
    writeln!(out, "{table}")?;
    Ok(ExitCode::SUCCESS)
}

fn row<'a>(about: &'a About, status: &Status) -> Row<'a> {
    let (word, exit_status) = word(status);
    Row { about, status: word, exit_status }
}

/// What it does, in docker's words, and its exit status.
pub(super) fn word(status: &Status) -> (&'static str, Option<u8>) {
    match status {
        Status::Running => ("running", None),
        Status::Paused => ("paused", None),
        Status::Ended(ended) => ("exited", Some(ended.status)),
    }
}

fn in_words(about: &About, status: &Status) -> String {
    let since = |time: u64| span(Duration::from_secs(now().saturating_sub(time)));
    match status {
        Status::Running => format!("up {}", since(about.started)),
        Status::Paused => format!("up {} (paused)", since(about.started)),
        Status::Ended(ended) => format!("exited ({}) {} ago", ended.status, since(ended.at)),
    }
}

/// A command can have anything in it, also what a terminal would obey.
fn shortened(command: &str) -> String {
    let mut short: String = command.chars().take(LONGEST).collect();
    if short.len() < command.len() {
        short.push('…');
    }
    harmless(&short).replace(['\n', '\t'], " ")
}

/// A time that matters less the longer it is.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_short_and_harmless() {
        assert_eq!(shortened("sh -c \x1b[2J"), "sh -c \u{fffd}[2J");
        assert_eq!(shortened("a\n\tb"), "a  b");
        assert_eq!(shortened(&"ü".repeat(40)), "ü".repeat(40));
        assert_eq!(shortened(&"ü".repeat(41)), format!("{}…", "ü".repeat(40)));
    }

    #[test]
    fn spans_are_short() {
        for (seconds, text) in
            [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172_800, "2 days")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
