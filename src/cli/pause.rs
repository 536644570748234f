//! `duplex pause` and `duplex resume`: stopping the time of instances.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use super::each::{in_testbed, over};
use crate::instances;

/// Stop all processes of instances, until `duplex resume`
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  duplex pause web
  duplex resume web")]
pub(super) struct PauseArgs {
    /// Which, by name
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Let instances that were paused go on
#[derive(clap::Args)]
pub(super) struct ResumeArgs {
    /// Which, by name
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Stops them, and prints the name of each that has stopped.
pub(super) fn pause(args: &PauseArgs) -> Result<ExitCode, Box<dyn Error>> {
    change(&args.names, true)
}

/// Lets them go on, and prints the name of each that does.
pub(super) fn resume(args: &ResumeArgs) -> Result<ExitCode, Box<dyn Error>> {
    change(&args.names, false)
}

/// Those in the testbed are stopped there, by the same command.
fn change(names: &[String], pause: bool) -> Result<ExitCode, Box<dyn Error>> {
    over(names, |name| {
        let found = instances::find(name)?;
        if found.about.testbed {
            let subcommand = if pause { "pause" } else { "resume" };
            let done = in_testbed(&found, [subcommand.into(), name.into()])? == 0;
            if done {
                found.note_paused(pause)?;
            }
            return Ok(done);
        }
        if pause { found.pause() } else { found.resume() }?;
        writeln!(std::io::stdout(), "{name}")?;
        Ok(true)
    })
}
