//! What is done to several instances, one after the other.

use std::error::Error;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use super::run::session_among_guests;
use super::{FAILED, say};
use crate::instances::Found;
use crate::testbed;

/// Does it to each, and prints the name of each to which it was done. One that fails does not keep the
/// others from it.
pub(super) fn each(
    names: &[String],
    mut act: impl FnMut(&str) -> Result<(), Box<dyn Error>>,
) -> Result<ExitCode, Box<dyn Error>> {
    over(names, |name| {
        act(name)?;
        writeln!(std::io::stdout(), "{name}")?;
        Ok(true)
    })
}

/// The same for what prints names itself. `act` returns false when it has said why it has failed.
pub(super) fn over(
    names: &[String],
    mut act: impl FnMut(&str) -> Result<bool, Box<dyn Error>>,
) -> Result<ExitCode, Box<dyn Error>> {
    let mut status = ExitCode::SUCCESS;
    for name in names {
        let done = act(name).unwrap_or_else(|error| {
            say(error);
            false
        });
        if !done {
            status = FAILED.into();
        }
    }
    Ok(status)
}

/// Runs duplex with these arguments in the machine in which an instance is, or was; returns its status.
pub(super) fn in_testbed(
    found: &Found,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<u8, Box<dyn Error>> {
    if !testbed::stays()? {
        let name = &found.about.name;
        return Err(format!(
            "{name} was in a testbed that has ended, and what it had there is gone: duplex rm {name}"
        )
        .into());
    }
    let command = [OsString::from(testbed::PROGRAM)].into_iter().chain(arguments).collect();
    Ok(testbed::run(&session_among_guests(command)?)?.status)
}
