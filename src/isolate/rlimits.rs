//! Resource limits of a process, getrlimit(2), as docker's `--ulimit` takes them.

use std::fmt;
use std::str::FromStr;

use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use super::capabilities::{Capabilities, Capability};

/// The names that `--ulimit` takes, those of limits.conf(5), in the order of the kernel's numbers.
const NAMES: [(&str, Resource); 16] = [
    ("cpu", Resource::RLIMIT_CPU),
    ("fsize", Resource::RLIMIT_FSIZE),
    ("data", Resource::RLIMIT_DATA),
    ("stack", Resource::RLIMIT_STACK),
    ("core", Resource::RLIMIT_CORE),
    ("rss", Resource::RLIMIT_RSS),
    ("nproc", Resource::RLIMIT_NPROC),
    ("nofile", Resource::RLIMIT_NOFILE),
    ("memlock", Resource::RLIMIT_MEMLOCK),
    ("as", Resource::RLIMIT_AS),
    ("locks", Resource::RLIMIT_LOCKS),
    ("sigpending", Resource::RLIMIT_SIGPENDING),
    ("msgqueue", Resource::RLIMIT_MSGQUEUE),
    ("nice", Resource::RLIMIT_NICE),
    ("rtprio", Resource::RLIMIT_RTPRIO),
    ("rttime", Resource::RLIMIT_RTTIME),
];

/// A resource limit. Units are the kernel's: bytes, seconds, or a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ulimit {
    resource: Resource,
    /// What counts.
    soft: u64,
    /// Up to where the process may raise what counts.
    hard: u64,
}

/// What remains of several: of those of the same resource the last.
pub fn last_of_each(limits: &[Ulimit]) -> Vec<Ulimit> {
    let later = |at: usize| limits.iter().skip(at + 1);
    let counts =
        |(at, limit): &(usize, &Ulimit)| later(*at).all(|other| other.resource != limit.resource);
    limits.iter().enumerate().filter(counts).map(|(_, limit)| *limit).collect()
}

/// A limit that can't be had.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UlimitError {
    /// Not as the option has it.
    #[error("'{0}' is not a ulimit: give NAME=SOFT[:HARD], such as nofile=1024:4096")]
    Form(String),
    /// No such limit.
    #[error("there is no ulimit '{name}': take one of {}", names())]
    Name {
        /// What was asked for.
        name: String,
    },
    /// Not a number.
    #[error("'{value}' is not a value of ulimit {name}: give a number, or -1 for no limit")]
    Value {
        /// Which limit.
        name: &'static str,
        /// What was given.
        value: String,
    },
    /// Soft above hard.
    #[error("ulimit {0}: the soft limit is above the hard one: give SOFT:HARD with SOFT <= HARD")]
    Order(Ulimit),
    /// The caller may not have that much.
    #[error(
        "ulimit {wanted}: the hard limit here is {}, and only who has CAP_SYS_RESOURCE on the host \
         can raise it: ask for less", shown(*.hard)
    )]
    BeyondHard {
        /// What was asked for.
        wanted: Ulimit,
        /// What there is at most.
        hard: u64,
    },
}

impl Ulimit {
    /// Whether this process can set it, as far as can be told beforehand.
    ///
    /// # Errors
    /// [`UlimitError::BeyondHard`] when it is more than this process may have.
    pub fn check(&self) -> Result<(), UlimitError> {
        let hard = getrlimit(self.resource).map_or(RLIM_INFINITY, |(_, hard)| hard);
        let may_raise =
            Capabilities::permitted().is_ok_and(|own| own.contains(Capability::SYS_RESOURCE));
        if self.hard > hard && !may_raise {
            return Err(UlimitError::BeyondHard { wanted: *self, hard });
        }
        Ok(())
    }

    /// Lets what this process starts set it, where that takes a higher hard limit than this process has:
    /// nobody in a user namespace of their own can raise one.
    ///
    /// # Errors
    /// `EPERM` as of [`apply`](Self::apply).
    pub fn make_room(&self) -> Result<(), Errno> {
        let (soft, hard) = getrlimit(self.resource)?;
        if self.hard > hard { setrlimit(self.resource, soft, self.hard) } else { Ok(()) }
    }

    /// Sets it for this process and what it starts. System calls only.
    ///
    /// # Errors
    /// `EPERM` when it is more than this process may have: more than [`check`](Self::check)
    /// allowed, in a user namespace of one's own, or with nofile above /proc/sys/fs/nr_open.
    pub fn apply(&self) -> Result<(), Errno> {
        setrlimit(self.resource, self.soft, self.hard)
    }
}

impl FromStr for Ulimit {
    type Err = UlimitError;

    /// `NAME=SOFT[:HARD]`; without HARD it is SOFT; -1 and "unlimited" are no limit.
    fn from_str(text: &str) -> Result<Self, UlimitError> {
        let (name, values) = text.split_once('=').ok_or_else(|| UlimitError::Form(text.into()))?;
        let &(name, resource) = NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| UlimitError::Name { name: name.into() })?;
        let value = |value: &str| match value {
            "-1" | "unlimited" => Ok(RLIM_INFINITY),
            _ => value.parse().map_err(|_| UlimitError::Value { name, value: value.into() }),
        };
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        let limit = Self { resource, soft: value(soft)?, hard: value(hard)? };
        if limit.soft > limit.hard { Err(UlimitError::Order(limit)) } else { Ok(limit) }
    }
}

impl TryFrom<String> for Ulimit {
    type Error = UlimitError;

    fn try_from(text: String) -> Result<Self, UlimitError> {
        text.parse()
    }
}

impl From<Ulimit> for String {
    fn from(limit: Ulimit) -> String {
        limit.to_string()
    }
}

impl fmt::Display for Ulimit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = NAMES.iter().find(|(_, resource)| *resource == self.resource);
        let name = known.map_or("unknown", |(name, _)| name);
        write!(out, "{name}={}:{}", shown(self.soft), shown(self.hard))
    }
}

fn shown(limit: u64) -> String {
    if limit == RLIM_INFINITY { "unlimited".into() } else { limit.to_string() }
}

fn names() -> String {
    NAMES.map(|(name, _)| name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isolate::in_child::in_child;

    fn parsed(text: &str) -> Result<String, String> {
        let limit = text.parse::<Ulimit>();
        limit.map(|limit| limit.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_what_docker_reads() {
        assert_eq!(parsed("nofile=1024"), Ok("nofile=1024:1024".into()));
        assert_eq!(parsed("nofile=1024:4096"), Ok("nofile=1024:4096".into()));
        assert_eq!(parsed("core=0:-1"), Ok("core=0:unlimited".into()));
        assert_eq!(parsed("core=unlimited"), Ok("core=unlimited:unlimited".into()));
        for (name, _) in NAMES {
            assert_eq!(parsed(&format!("{name}=1:2")), Ok(format!("{name}=1:2")));
        }
        let stored: Ulimit = serde_json::from_str(r#""core=0:unlimited""#).unwrap();
        assert_eq!(serde_json::to_string(&stored).unwrap(), r#""core=0:unlimited""#);
        assert!(serde_json::from_str::<Ulimit>(r#""core=1:0""#).is_err());
    }

    #[test]
    fn refuses_the_rest_and_says_what_to_do() {
        for (text, remedy) in [
            ("nofile", "NAME=SOFT[:HARD]"),
            ("", "NAME=SOFT[:HARD]"),
            ("files=1", "nofile"),
            ("NOFILE=1", "nofile"),
            ("=1", "nofile"),
            ("nofile=", "-1 for no limit"),
            ("nofile=-2", "-1 for no limit"),
            ("nofile=1:", "-1 for no limit"),
            ("nofile=1:2:3", "-1 for no limit"),
            ("nofile=1k", "-1 for no limit"),
            ("nofile=99999999999999999999", "-1 for no limit"),
            ("nofile=2:1", "SOFT <= HARD"),
            ("nofile=-1:1", "SOFT <= HARD"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(remedy), "{text}: {error}");
        }
    }

    #[test]
    fn applies_and_cannot_go_back() {
        let limit: Ulimit = "nofile=40:50".parse().unwrap();
        let more: Ulimit = "nofile=40:51".parse().unwrap();
        let text = in_child(|| {
            limit.apply()?;
            let now = getrlimit(Resource::RLIMIT_NOFILE)?;
            super::super::capabilities::CapabilitySets::default().set()?;
            let error = more.check().unwrap_err().to_string();
            Ok(format!("{now:?} {:?} {error}", more.apply()))
        });
        assert!(text.starts_with("(40, 50) Err(EPERM) "), "{text}");
        assert!(text.contains("nofile=40:51") && text.contains("is 50"), "{text}");
    }
}
