//! `duplex pause` and `duplex resume`: stopping the time of instances.

use std::error::Error;
use std::process::ExitCode;

use super::each::each_where_it_is;
use crate::instances::Found;

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

/// Stops them.
pub(super) fn pause(args: &PauseArgs) -> Result<ExitCode, Box<dyn Error>> {
    each_where_it_is(&args.names, "pause", Found::pause)
}

/// Lets them go on.
pub(super) fn resume(args: &ResumeArgs) -> Result<ExitCode, Box<dyn Error>> {
    each_where_it_is(&args.names, "resume", Found::resume)
}
