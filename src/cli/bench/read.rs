//! What is done with reports that are there: `duplex bench compare`, `report` and `plot`.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::compare;
use super::out::{self, Directory};
use crate::bench::report::{read, start_svg};

/// Commands that measure nothing.
#[derive(clap::Subcommand)]
pub(super) enum Command {
    Compare(compare::Args),
    Report(ReportArgs),
    Plot(PlotArgs),
}

impl Command {
    /// Runs it and returns the exit status.
    pub(super) fn run(&self) -> Result<ExitCode, Box<dyn Error>> {
        match self {
            Self::Compare(args) => compare::run(args),
            Self::Report(args) => args.run(),
            Self::Plot(args) => args.run(),
        }
    }
}

/// Show a report again, from its report.json
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  duplex bench report report/report.json               the summary
  duplex bench report report.json --out again          report.html, report.md and report.json

Exit status: 0; 125 when the file is no report.")]
pub(super) struct ReportArgs {
    /// The report.json of a run
    #[arg(value_name = "REPORT.json")]
    report: PathBuf,
    /// Put the report into this directory, which must be empty or not there
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl ReportArgs {
    fn run(&self) -> Result<ExitCode, Box<dyn Error>> {
        let results = read::document(&self.report)?;
        match &self.out {
            Some(out) => Directory::make(out)?.write(&results)?,
            None => out::show(&results)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Draw how long each start of a report takes, as one SVG picture
///
/// It has its own background and needs nothing else: for a README, on light pages and on dark ones.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  duplex bench plot report/report.json --out start.svg
  duplex bench plot report/report.json >start.svg

Exit status: 0; 125 when the file is no report, or has no starts.")]
pub(super) struct PlotArgs {
    /// The report.json of a run of `start` or `all`
    #[arg(value_name = "REPORT.json")]
    report: PathBuf,
    /// The file for the picture [default: standard output]
    #[arg(long, value_name = "FILE.svg")]
    out: Option<PathBuf>,
}

impl PlotArgs {
    fn run(&self) -> Result<ExitCode, Box<dyn Error>> {
        let results = read::document(&self.report)?;
        let report = self.report.display();
        let Some(picture) = start_svg(&results) else {
            return Err(format!(
                "{report} has no start that succeeded: give that of `duplex bench start`"
            )
            .into());
        };
        match &self.out {
            Some(out) => fs::write(out, picture)
                .map_err(|error| format!("cannot write {}: {error}", out.display()))?,
            None => io::stdout().write_all(picture.as_bytes())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
