//! `duplex trace show`: where the time went.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::{json, tables};
use crate::cli::say;
use crate::trace::summary::Summary;

/// Say where the time went: by phase, vCPU, device and function of the guest; and what would save some
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  duplex trace show boot.trace
  duplex trace show boot.trace --symbols ~/linux/vmlinux
  duplex trace show --live boot.trace       from another terminal, while the guest runs
  duplex trace show boot.trace --json | jq '.exits'

Without --symbols, System.map and a vmlinux with symbols are looked for beside the guest's kernel.")]
pub(super) struct Args {
    /// The trace
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where the names of the guest's functions are: the System.map of its kernel, or its vmlinux
    #[arg(long, value_name = "FILE")]
    symbols: Option<PathBuf>,
    /// How many lines each table has at most
    #[arg(long, value_name = "N", default_value = "10")]
    top: usize,
    /// Show what happens while the trace is made, on the whole terminal: rates, vCPUs, devices and the
    /// last exits. 'q' quits
    #[arg(long, conflicts_with = "json")]
    live: bool,
    /// As JSON, times in nanoseconds
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let (mut reader, symbols) = super::open_with_symbols(&args.file, args.symbols.as_ref())?;
    if args.live {
        return super::follow::run(&args.file, reader, symbols);
    }
    let summary = Summary::of(&mut reader, symbols);
    let summary = summary.map_err(|error| super::named(&args.file, &error))?;
    for warning in warnings(&summary, reader.is_cut_off()) {
        say(format_args!("{}: {warning}", args.file.display()));
    }
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &json::of(&summary))?;
        writeln!(out)?;
    } else {
        out.write_all(tables::all(&summary, args.top).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What is missing in it.
fn warnings(summary: &Summary, cut_off: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    if cut_off {
        warnings.push(
            "it is cut off: whoever made it was killed, or makes it still; what is there is shown"
                .to_owned(),
        );
    } else if summary.has_end && !summary.whole {
        warnings.push(
            "the VMM was killed: what had happened in its last moments was not written".to_owned(),
        );
    }
    let dropped = summary.dropped();
    if dropped > 0 {
        warnings.push(format!(
            "{dropped} events found no room, because the file could not be written fast enough: counts and \
             sums are too low by them"
        ));
    }
    warnings
}
