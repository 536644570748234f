//! Options that leave walls of a container out, called as docker calls them.

use std::str::FromStr;

use crate::container::Openings;

/// The options.
#[derive(clap::Args)]
#[command(next_help_heading = "Walls that a container does without")]
pub(super) struct SecurityArgs {
    /// seccomp=unconfined: no filter on system calls; systempaths=unconfined: nothing in /proc is masked
    /// or read-only; no-new-privileges=false: set-user-id programs of the image have their effect. Can be
    /// given again
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
            }
        }
        openings
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
    AllCalls,
    SystemPaths,
    NewPrivileges(bool),
}

impl FromStr for SecurityOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once(['=', ':']).unwrap_or((text, ""));
        match (name, value) {
            ("seccomp", "unconfined") => Ok(Self::AllCalls),
            ("seccomp", _) => Err("there is one filter: with it, or seccomp=unconfined".into()),
            ("systempaths", "unconfined") => Ok(Self::SystemPaths),
            ("no-new-privileges", "" | "true") => Ok(Self::NewPrivileges(false)),
            ("no-new-privileges", "false") => Ok(Self::NewPrivileges(true)),
            _ => Err("there are seccomp=unconfined, systempaths=unconfined and \
                      no-new-privileges=true|false"
                .into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_those_of_docker() {
        let option = |text: &str| text.parse::<SecurityOption>();
        assert_eq!(option("seccomp=unconfined"), Ok(SecurityOption::AllCalls));
        assert_eq!(option("systempaths=unconfined"), Ok(SecurityOption::SystemPaths));
        for text in ["no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"] {
            assert_eq!(option(text), Ok(SecurityOption::NewPrivileges(false)));
        }
        assert_eq!(option("no-new-privileges:false"), Ok(SecurityOption::NewPrivileges(true)));
        for text in ["", "seccomp", "seccomp=/x.json", "label=disable", "no-new-privileges=no"] {
            assert!(option(text).is_err(), "{text}");
        }
    }
}
