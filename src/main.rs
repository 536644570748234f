//! The duplex command: arguments, logging, exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    duplex::cli::main()
}
