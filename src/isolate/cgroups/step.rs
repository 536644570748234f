//! One step to a group, and how it is carried out.

use std::fmt;
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::devices::DeviceRule;
use super::error::Error;
use super::{device_filter, files};

/// A step to a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What is done.
    pub action: Action,
    /// What for.
    pub reason: &'static str,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Makes a group, unless it is there.
    Share(PathBuf),
    /// Makes a group that is not there.
    Make(PathBuf),
    /// Writes a value into a file of a group.
    Write {
        /// The file.
        file: PathBuf,
        /// The value.
        value: String,
        /// Whether it does no harm if this fails: nobody asked for it.
        optional: bool,
    },
    /// Lets only some devices be used in a group.
    Restrict {
        /// The group.
        group: PathBuf,
        /// The devices.
        rules: Vec<DeviceRule>,
    },
}

impl Step {
    pub(super) fn carry_out(&self) -> Result<(), Error> {
        let make = |path: &Path| DirBuilder::new().mode(0o755).create(path);
        let done = match &self.action {
            Action::Share(path) => match make(path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
                other => other,
            },
            Action::Make(path) => make(path),
            Action::Write { file, value, optional } => match files::write(file, value) {
                Err(error) if *optional => {
                    log::debug!("cannot {}: {error}", self.action);
                    Ok(())
                }
                other => other,
            },
            Action::Restrict { group, rules } => device_filter::restrict(group, rules),
        };
        done.map_err(|error| Error::at(self.action.to_string())(error))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(path) => write!(f, "make {}, unless it is there", path.display()),
            Self::Make(path) => write!(f, "make {}", path.display()),
            Self::Write { file, value, optional } => {
                let may_fail = if *optional { ", where that is known" } else { "" };
                write!(f, "write {value} to {}{may_fail}", file.display())
            }
            Self::Restrict { group, rules } => {
                let rules: Vec<String> = rules.iter().map(DeviceRule::to_string).collect();
                write!(f, "let {} use devices: {}", group.display(), rules.join(", "))
            }
        }
    }
}
