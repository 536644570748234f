//! `duplex trace`: what a trace tells.

mod export;
mod follow;
mod json;
mod screen;
mod show;
mod tables;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use crate::trace::file::read::{self, Block, Reader};
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
  duplex trace export boot.trace --format perfetto -o boot.pftrace
  duplex trace show --live boot.trace            watch, from another terminal, while it is made
  duplex trace show boot.trace --json | jq '.suggestions[].text'")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Show(show::Args),
    Export(export::Args),
}

/// Runs the command; returns the exit status.
pub(super) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    match &args.command {
        Command::Show(args) => show::run(args),
        Command::Export(args) => export::run(args),
    }
}

type FileReader = Reader<std::io::BufReader<std::fs::File>>;

/// Opens a trace, with the names of the guest's functions.
fn open_with_symbols(
    path: &Path,
    named_symbols: Option<&PathBuf>,
) -> Result<(FileReader, Option<Symbols>), Box<dyn Error>> {
    let failed = |error: read::Error| named(path, &error);
    let mut reader = Reader::open(path).map_err(failed)?;
    let kernel = match reader.next_block().map_err(failed)? {
        Some(Block::About(about)) => about.kernel,
        _ => None,
    };
    reader.rewind().map_err(failed)?;
    let symbols = symbols(named_symbols, kernel.as_deref())?;
    Ok((reader, symbols))
}

fn named(path: &Path, error: &dyn Error) -> String {
    format!("{}: {error}", path.display())
}

/// Names of the guest's functions: those of a file that was named, else those that are found beside the
/// kernel.
fn symbols(
    named: Option<&PathBuf>,
    kernel: Option<&str>,
) -> Result<Option<Symbols>, Box<dyn Error>> {
    match named {
        Some(path) => Ok(Some(Symbols::read(path)?)),
        None => {
            Ok(kernel.and_then(|kernel| Symbols::beside(Path::new(kernel))).map(|found| found.1))
        }
    }
}
