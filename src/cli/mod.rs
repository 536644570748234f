//! The command line: one file a subcommand.

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod testbed;

/// duplex itself failed, as docker has it; what the workload returned otherwise.
pub const FAILED: u8 = 125;

/// One image, two homes.
#[derive(Parser)]
#[command(version, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Testbed(testbed::Args),
}

/// Runs the command line and returns the exit status.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let status = if error.use_stderr() { FAILED } else { 0 };
            let _ = error.print();
            return status.into();
        }
    };
    let result = match cli.command {
        Command::Testbed(args) => testbed::run(args),
    };
    match result {
        Ok(status) => status,
        Err(error) => fail(&*error),
    }
}

fn fail(error: &dyn Error) -> ExitCode {
    eprintln!("duplex: {error}");
    FAILED.into()
}

/// An empty table without rules, in the style of docker's.
fn table(header: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(header.iter().copied());
    table
}
