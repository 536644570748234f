//! `duplex stop` and `duplex kill`: ending instances, or telling them something.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::each::each;
use crate::instances::{self, Found};
use crate::session::host::Signals;

/// End instances: their commands are sent SIGTERM, and after a while all of them is killed
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  duplex stop web
  duplex stop --time 0 web                      at once")]
pub(super) struct StopArgs {
    /// How many seconds the command has to end by itself
    #[arg(
        long,
        short,
        value_name = "SECONDS",
        default_value = "10",
        allow_negative_numbers = true
    )]
    time: u32,
    /// Which, by name
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Send the commands of instances a signal, or kill all of them
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  duplex kill web                               at once, with all that runs in it
  duplex kill --signal HUP web")]
pub(super) struct KillArgs {
    /// Which signal, by name or number
    #[arg(long, short, value_name = "SIGNAL", default_value = "KILL", value_parser = signal)]
    signal: Signal,
    /// Which, by name
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Ends them, and prints the name of each that is gone.
pub(super) fn stop(args: &StopArgs) -> Result<ExitCode, Box<dyn Error>> {
    let patience = Duration::from_secs(args.time.into());
    each(&args.names, |name| Ok(end(&instances::find(name)?, patience)?))
}

/// Ends it, gracefully if there is time.
pub(super) fn end(found: &Found, patience: Duration) -> Result<(), instances::Error> {
    if patience.is_zero() || !found.end(Signal::SIGTERM, patience)? {
        found.end(Signal::SIGKILL, Duration::MAX)?;
    }
    Ok(())
}

/// Tells them, and prints the name of each that was told.
pub(super) fn kill(args: &KillArgs) -> Result<ExitCode, Box<dyn Error>> {
    each(&args.names, |name| {
        let found = instances::find(name)?;
        // An error where it has ended already.
        found.pid()?;
        if args.signal == Signal::SIGKILL {
            return Ok(end(&found, Duration::ZERO)?);
        }
        Ok(found.signal(args.signal)?)
    })
}

fn signal(text: &str) -> Result<Signal, String> {
    let name = text.to_ascii_uppercase();
    let number = || Signal::try_from(text.parse::<i32>().ok()?).ok();
    let named = || format!("SIG{}", name.trim_start_matches("SIG")).parse().ok();
    let found: Option<Signal> = number().or_else(named);
    let passed_on = || Signals::PASSED_ON.into_iter().chain([Signal::SIGKILL]);
    found.filter(|signal| passed_on().any(|known| known == *signal)).ok_or_else(|| {
        let known: Vec<_> =
            passed_on().map(|signal| signal.as_str().trim_start_matches("SIG")).collect();
        format!("'{text}' is no signal that is passed on: give one of {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, expected) in
            [("HUP", Signal::SIGHUP), ("sigterm", Signal::SIGTERM), ("9", Signal::SIGKILL)]
        {
            assert_eq!(signal(text).unwrap(), expected);
        }
        for text in ["", "STOP", "0", "99", "HUPP", "SIG"] {
            assert!(signal(text).unwrap_err().contains("is no signal that is passed on"), "{text}");
        }
    }
}
