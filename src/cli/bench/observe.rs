//! What this program does in the testbed: it carries out an order.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::progress::Progress;
use crate::bench::in_testbed;
use crate::bench::measure::Order;
use crate::bench::stop::Stop;
use crate::cli::INTERRUPTED;
use crate::testbed;

/// What it is called there.
pub(in crate::cli) const OBSERVE: &str = "bench-observe";

/// Carries out an order of `duplex bench` on this machine.
#[derive(clap::Args)]
pub(in crate::cli) struct ObserveArgs {
    /// The order, as JSON
    order: PathBuf,
    /// The file for what was found, as JSON
    observed: PathBuf,
}

/// Runs it and returns the exit status.
pub(in crate::cli) fn observe(args: &ObserveArgs) -> Result<ExitCode, Box<dyn Error>> {
    let stop = Stop::on_signals()?;
    let order: Order = serde_json::from_slice(&fs::read(&args.order)?)?;
    // It makes file systems on that machine's disks.
    if !Path::new(testbed::PROGRAM).exists() {
        return Err(
            "an order of duplex bench is carried out in the testbed, and nowhere else".into()
        );
    }
    let mut progress = Progress::new(order.place.word());
    let observed = in_testbed::carry_out(&order, &mut progress, &stop)?;
    fs::write(&args.observed, serde_json::to_vec(&observed)?)?;
    Ok(if observed.complete { ExitCode::SUCCESS } else { INTERRUPTED.into() })
}
