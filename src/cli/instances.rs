//! `duplex ps` and `duplex stop`: the guests that run.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;

use super::say;
use crate::instances;

/// List the guests that run
#[derive(clap::Args)]
pub(super) struct PsArgs {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// End guests: their commands are sent SIGTERM, and after a while the guests are killed
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  duplex stop web
  duplex stop --time 0 web                      at once")]
pub(super) struct StopArgs {
    /// How many seconds the command has to end by itself
    #[arg(long, short, value_name = "SECONDS", default_value = "10")]
    time: u32,
    /// Which, by name
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Lists them.
pub(super) fn ps(args: &PsArgs) -> Result<ExitCode, Box<dyn Error>> {
    let all: Vec<_> = instances::all()?.into_iter().map(|found| found.about).collect();
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &all)?;
        writeln!(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = super::table(&["NAME", "IMAGE", "COMMAND", "RUNS FOR"]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    for about in all {
        // A command can have anything in it, also what a terminal would obey.
        let command = about.command.join(" ").replace(|c: char| c.is_control(), "?");
        table.add_row([
            about.name,
            about.image.display().to_string(),
            command,
            format!("{} s", now.saturating_sub(about.started)),
        ]);
    }
    writeln!(out, "{table}")?;
    Ok(ExitCode::SUCCESS)
}

/// Ends them, and prints the name of each that is gone.
pub(super) fn stop(args: &StopArgs) -> Result<ExitCode, Box<dyn Error>> {
    let mut status = ExitCode::SUCCESS;
    for name in &args.names {
        match end(name, Duration::from_secs(args.time.into())) {
            Ok(()) => writeln!(std::io::stdout(), "{name}")?,
            Err(error) => {
                say(error);
                status = super::FAILED.into();
            }
        }
    }
    Ok(status)
}

fn end(name: &str, patience: Duration) -> Result<(), instances::Error> {
    let found = instances::find(name)?;
    if patience.is_zero() || !found.end(Signal::SIGTERM, patience)? {
        found.end(Signal::SIGKILL, Duration::MAX)?;
    }
    Ok(())
}
