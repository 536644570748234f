//! `duplex wait`: until instances end.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use super::{FAILED, say};
use crate::instances;

/// Wait until instances end, and print the exit status of each
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  duplex wait web")]
pub(super) struct Args {
    /// Which, by name
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Waits for one after the other.
pub(super) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    // Found first: one that leaves nothing behind may end while another is waited for.
    let found: Vec<_> = args.names.iter().map(|name| instances::find(name)).collect();
    let mut status = ExitCode::SUCCESS;
    for found in found {
        match found.and_then(|found| found.wait()) {
            Ok(ended) => writeln!(std::io::stdout(), "{}", ended.status)?,
            Err(error) => {
                say(error);
                status = FAILED.into();
            }
        }
    }
    Ok(status)
}
