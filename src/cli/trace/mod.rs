//! `duplex trace`: what a trace tells.

mod show;
mod tables;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use crate::trace::file::read::Reader;
use crate::trace::symbols::Symbols;

/// What a trace tells: where the time of a boot or a run went
///
/// `duplex boot --trace FILE` and `duplex run --trace FILE` make a trace.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  duplex boot --trace boot.trace                 make a trace
  duplex trace show boot.trace                   where its time went, and what would save some
  duplex trace show boot.trace --symbols System.map
  duplex trace show boot.trace --json | jq '.suggestions[].text'")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Show(show::Args),
}

/// Runs the command; returns the exit status.
pub(super) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    match &args.command {
        Command::Show(args) => show::run(args),
    }
}

type FileReader = Reader<std::io::BufReader<std::fs::File>>;

fn open(path: &Path) -> Result<FileReader, String> {
    Reader::open(path).map_err(|error| named(path, &error))
}

fn named(path: &Path, error: &dyn Error) -> String {
    format!("{}: {error}", path.display())
}

/// Names of the guest's functions: those of a file that was named, else those that are found beside the
/// kernel.
fn symbols(named: Option<&PathBuf>, kernel: Option<&str>) -> Result<Option<Symbols>, Box<dyn Error>> {
    match named {
        Some(path) => Ok(Some(Symbols::read(path)?)),
        None => Ok(kernel.and_then(|kernel| Symbols::beside(Path::new(kernel))).map(|found| found.1)),
    }
}
