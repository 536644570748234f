//! PID 1 of guests: what `duplex run` puts into them, without all that duplex does on a host.

use std::process::ExitCode;

fn main() -> ExitCode {
    duplex::init::program()
}
