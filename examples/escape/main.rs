//! The probe's attempts to get out of a container or a guest, as a program of their own: `escape NAME`. The tests
//! start it in images that have nothing else.

use std::process::ExitCode;

#[path = "../../guest-images/probes/duplex-probe/escape/mod.rs"]
mod escape;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    escape::run(&arguments)
}
