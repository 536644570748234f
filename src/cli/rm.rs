//! `duplex rm`: forgetting instances that have ended.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use super::each::{each, in_testbed};
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
    /// Kill those that run first
    #[arg(long, short)]
    force: bool,
    /// Which, by name
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Removes them, and prints the name of each that is gone.
pub(super) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    each(&args.names, |name| {
        let found = instances::find(name)?;
        if args.force {
            end(&found, Duration::ZERO)?;
        }
        match instances::remove(name) {
            // One that leaves nothing behind is gone with its end.
            Err(instances::Error::None(_)) if args.force => {}
            other => other?,
        }
        if found.about.testbed && found.about.remains && testbed::stays()? {
            let force = args.force.then(|| "--force".into());
            in_testbed(&found, ["rm".into(), name.into()].into_iter().chain(force))?;
        }
        Ok(())
    })
}
