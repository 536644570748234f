//! Options that leave walls of a container out, called as docker calls them.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::container::Openings;
use crate::isolate::apparmor::{self, LoadError};

/// The options.
#[derive(clap::Args)]
#[command(next_help_heading = "Walls that a container does without")]
pub(super) struct SecurityArgs {
    /// seccomp=unconfined: no filter on system calls; systempaths=unconfined: nothing in /proc is masked
    /// or read-only; no-new-privileges=false: set-user-id programs of the image have their effect;
    /// apparmor=unconfined: no profile, or apparmor=duplex-default: that one (the default where AppArmor is
    /// enabled). Can be given again
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<SecurityOption>,
    /// Whose users it has: with host, the host's, so that its root is the host's; for root only
    /// [default: its own]
    #[arg(long, value_name = "host|private")]
    userns: Option<Whose>,
    /// Whose control groups it sees: with host, all [default: its own]
    #[arg(long, value_name = "host|private")]
    cgroupns: Option<Whose>,
}

impl SecurityArgs {
    /// Whether any is given.
    pub(super) fn is_given(&self) -> bool {
        !self.security_opt.is_empty() || self.userns.is_some() || self.cgroupns.is_some()
    }

    /// What is left open. Of options that contradict each other the last one counts.
    pub(super) fn openings(&self) -> Openings {
        let mut openings = Openings {
            users: self.userns == Some(Whose::Host),
            groups: self.cgroupns == Some(Whose::Host),
            ..Openings::default()
        };
        for option in &self.security_opt {
            match option {
                SecurityOption::AllCalls => openings.calls = true,
                SecurityOption::SystemPaths => openings.paths = true,
                SecurityOption::NewPrivileges(allowed) => openings.privileges = *allowed,
                SecurityOption::AppArmor(_) => {}
            }
        }
        openings
    }

    /// Decides what commands are confined to by AppArmor: its profile where AppArmor is enabled, unless said
    /// otherwise.
    ///
    /// # Errors
    /// The profile was asked for, and this kernel has none.
    pub(super) fn confinement(&self) -> Result<Confinement, &'static str> {
        let asked = self.security_opt.iter().rev().find_map(|option| match option {
            SecurityOption::AppArmor(asked) => Some(*asked),
            _ => None,
        });
        match (asked.unwrap_or(Confinement::ProfileIfThere), apparmor::is_enabled()) {
            (Confinement::Profile, false) => Err(
                "--security-opt apparmor: this host's kernel has no AppArmor enabled: leave it away",
            ),
            (Confinement::ProfileIfThere, false) => Ok(Confinement::Unconfined),
            (confinement, _) => Ok(confinement),
        }
    }
}

/// What AppArmor confines commands to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Confinement {
    /// The profile of this program.
    Profile,
    /// The same if it can be had.
    ProfileIfThere,
    /// Nothing.
    Unconfined,
}

impl Confinement {
    /// Sees to it that the profile is loaded, where it is wanted; says whether commands can be confined.
    ///
    /// # Errors
    /// It has to be there, and cannot be had.
    pub(super) fn provide(self) -> Result<bool, LoadError> {
        if self == Self::Unconfined {
            return Ok(false);
        }
        match apparmor::provide() {
            Ok(()) => Ok(true),
            Err(error) if self == Self::Profile => Err(error),
            Err(error) => {
                log::info!("the container is not confined by AppArmor: {error}");
                Ok(false)
            }
        }
    }
}

/// A namespace's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Host,
    Private,
}

impl FromStr for Whose {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "host" => Ok(Self::Host),
            "private" => Ok(Self::Private),
            _ => Err("there are host and private".into()),
        }
    }
}

/// One of what `--security-opt` takes; docker has `:` for `=` too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SecurityOption {
    AppArmor(Confinement),
    AllCalls,
    SystemPaths,
    NewPrivileges(bool),
}

impl FromStr for SecurityOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once(['=', ':']).unwrap_or((text, ""));
        match (name, value) {
            ("apparmor", "unconfined") => Ok(Self::AppArmor(Confinement::Unconfined)),
            ("apparmor", apparmor::PROFILE) => Ok(Self::AppArmor(Confinement::Profile)),
            ("seccomp", "unconfined") => Ok(Self::AllCalls),
            ("systempaths", "unconfined") => Ok(Self::SystemPaths),
            ("no-new-privileges", "" | "true") => Ok(Self::NewPrivileges(false)),
            ("no-new-privileges", "false") => Ok(Self::NewPrivileges(true)),
            _ => Err(format!(
                "'{text}' is no option: they are seccomp=unconfined, systempaths=unconfined, \
                 no-new-privileges=true|false, apparmor=unconfined and apparmor={}",
                apparmor::PROFILE
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_those_of_docker() {
        let read = |text: &str| text.parse::<SecurityOption>();
        assert_eq!(read("seccomp=unconfined"), Ok(SecurityOption::AllCalls));
        assert_eq!(read("systempaths=unconfined"), Ok(SecurityOption::SystemPaths));
        for text in ["no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"] {
            assert_eq!(read(text), Ok(SecurityOption::NewPrivileges(false)));
        }
        assert_eq!(read("no-new-privileges:false"), Ok(SecurityOption::NewPrivileges(true)));
        let confined = |to| Ok(SecurityOption::AppArmor(to));
        assert_eq!(read("apparmor=unconfined"), confined(Confinement::Unconfined));
        assert_eq!(read("apparmor=duplex-default"), confined(Confinement::Profile));
        for text in [
            "",
            "seccomp",
            "seccomp=/x.json",
            "label=disable",
            "no-new-privileges=no",
            "apparmor",
            "apparmor=docker-default",
        ] {
            assert!(read(text).unwrap_err().contains("is no option"), "{text}");
        }
    }

    #[test]
    fn nothing_is_open_unless_asked_for() {
        let mut args = SecurityArgs { security_opt: Vec::new(), userns: None, cgroupns: None };
        assert_eq!(args.openings(), Openings::default());
        args.security_opt = vec![SecurityOption::AppArmor(Confinement::Unconfined)];
        assert_eq!(args.confinement(), Ok(Confinement::Unconfined));
        assert_eq!(args.openings(), Openings::default());
    }
}
