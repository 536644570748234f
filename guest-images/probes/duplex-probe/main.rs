//! The probe: one static program that runs behind every wall, and says what it finds there.
#![allow(clippy::print_stdout, reason = "what it finds is what it prints")]

use std::process::ExitCode;

mod init;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        None => println!("ready"),
        Some(init::WORD) => return init::run(arguments),
        Some(word) => {
            eprintln!("duplex-probe: there is no probe called {word}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
