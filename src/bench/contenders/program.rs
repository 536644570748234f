//! Programs of the host: where they are, what brings them, and what version they say they are.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::bench::results::Contender as Described;
use crate::host::installed_program;

/// A program that is there.
#[derive(Clone, Debug)]
pub(super) struct Program(PathBuf);

impl Program {
    /// Looks for it; where it is missing, says which package brings it.
    pub(super) fn find(
        name: &str,
        package: &str,
        described: &mut Described,
    ) -> Result<Self, Described> {
        installed_program(name).map(Self).ok_or_else(|| {
            described.missing = Some(format!("there is no {name}: {package} brings it"));
            described.clone()
        })
    }

    /// A command that starts it.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.0);
        command.stdin(Stdio::null());
        command
    }
}

/// The first line of what it says its version is.
pub(super) fn version(program: &Program, arguments: &[&str]) -> Option<String> {
    let output = program.command().args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| !line.trim().is_empty())?;
    Some(line.trim().to_owned())
}
