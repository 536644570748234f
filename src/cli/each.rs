//! What is done to several instances, one after the other.

use std::error::Error;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use super::run::session_among_guests;
use super::{FAILED, say};
use crate::instances::{self, Found};
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

/// The same, to instances that are found first; those in the testbed get `subcommand` there, which does
/// the same and prints the same.
pub(super) fn each_where_it_is(
    names: &[String],
    subcommand: &str,
    act: impl Fn(&Found) -> Result<(), instances::Error>,
) -> Result<ExitCode, Box<dyn Error>> {
    over(names, |name| {
        let found = instances::find(name)?;
        if found.about.testbed {
            return Ok(in_testbed(&found, [subcommand.into(), name.into()])? == 0);
        }
        act(&found)?;
        writeln!(std::io::stdout(), "{name}")?;
        Ok(true)
    })
}

/// `act` returns false when it has said itself why it has failed.
fn over(
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
