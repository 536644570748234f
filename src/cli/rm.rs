//! `duplex rm`: forgetting instances that have ended.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use super::each::{in_testbed, over};
use super::stop::end;
use crate::instances;
use crate::testbed;

/// Remove what remains of instances that have ended: their logs and how they ended
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  duplex rm web
  duplex rm --force web                         end it first, if it runs
  duplex rm $(duplex ps --all --quiet)")]
pub(super) struct Args {
    /// Kill those that run first; one that is not there is no error
    #[arg(long, short)]
    force: bool,
    /// Print no names
    #[arg(long, short)]
    quiet: bool,
    /// Which, by name
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Removes them, and prints the name of each that is gone.
pub(super) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    over(&args.names, |name| {
        let found = match instances::find(name) {
            Ok(found) => found,
            Err(instances::Error::None(_)) if args.force => return Ok(true),
            Err(error @ instances::Error::None(_)) => return Err(error.into()),
            // What cannot be read can be removed.
            Err(_) => {
                if args.force { instances::destroy(name) } else { instances::remove(name) }?;
                return told(args, name);
            }
        };
        if args.force {
            end(&found, Duration::ZERO)?;
        }
        match instances::remove(name) {
            // One that leaves nothing behind is gone with its end.
            Err(instances::Error::None(_)) if args.force => {}
            other => other?,
        }
        if found.about.testbed && found.about.remains && testbed::stays()? {
            in_testbed(&found, ["rm", "--force", "--quiet", name].map(Into::into))?;
        }
        told(args, name)
    })
}

fn told(args: &Args, name: &str) -> Result<bool, Box<dyn Error>> {
    if !args.quiet {
        writeln!(std::io::stdout(), "{name}")?;
    }
    Ok(true)
}
