//! Programs of the host: where they are, what brings them, and what version they say they are.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::bench::results::Contender as Described;
use crate::host::installed_program;
use crate::testbed::files_to_run;

/// A program that is there.
#[derive(Clone, Debug)]
pub(super) struct Program(PathBuf);

impl Program {
    /// Looks for it; where it is missing, says what brings it.
    pub(super) fn find(
        name: &str,
        package: &str,
        described: &mut Described,
    ) -> Result<Self, Described> {
        installed_program(name).map(Self).ok_or_else(|| {
            missing(described, format!("there is no {name} on this host; {package} brings it"))
        })
    }

    /// A command that starts it, without input.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.0);
        command.stdin(Stdio::null());
        command
    }

    /// The program with its libraries.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let env: Vec<_> = std::env::vars_os().collect();
        // What cannot be found out is not counted as one of its files; it still starts.
        files_to_run(&self.0, &env).map(|files| files.into_iter().collect()).unwrap_or_default()
    }

    /// The first line of what it says when it is called with these arguments, which must end well.
    pub(super) fn version(&self, arguments: &[&str]) -> Option<String> {
        let output = self.command().args(arguments).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| !line.trim().is_empty())?;
        output.status.success().then(|| line.trim().to_owned())
    }
}

/// The description of one that cannot take part, with the reason.
pub(super) fn missing(described: &Described, reason: String) -> Described {
    Described { missing: Some(reason), ..described.clone() }
}
