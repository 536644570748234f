//! Capabilities: the pieces of what user 0 may do beyond other users, capabilities(7).

use std::fmt;
use std::ops::BitOr;
use std::str::FromStr;

use nix::errno::Errno;
use nix::unistd::Uid;
use serde::{Deserialize, Serialize};

mod names;
mod sets;

pub use names::{Capability, UnknownCapability};
pub use sets::CapabilitySets;

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities(u64);

/// What a command in a container keeps: docker's default list, so that images made for docker find
/// what they count on. Each acts on what the container's user namespace owns, and no further.
pub const DEFAULT: [(Capability, &str); 14] = [
    (Capability::AUDIT_WRITE, "login programs write to the audit log and give up when they can't"),
    (Capability::CHOWN, "package managers and tar give files to their owners"),
    (Capability::DAC_OVERRIDE, "root reads and writes files of other users of the image"),
    (Capability::FOWNER, "root changes modes and times of files of other users of the image"),
    (Capability::FSETID, "set-user-id bits survive when root writes a file, as installers expect"),
    (Capability::KILL, "service managers signal services that run as other users"),
    (Capability::MKNOD, "package managers make device nodes; opening one is another question"),
    (Capability::NET_BIND_SERVICE, "servers listen on ports below 1024"),
    (Capability::NET_RAW, "ping and the like, in the container's own network"),
    (Capability::SETFCAP, "package managers give capabilities to files"),
    (Capability::SETGID, "services change to a group of their own"),
    (Capability::SETPCAP, "services give up capabilities that they do not need"),
    (Capability::SETUID, "services change to a user of their own"),
    (Capability::SYS_CHROOT, "services and build tools confine themselves with chroot"),
];

impl Capabilities {
    /// No capability.
    pub const NONE: Self = Self(0);
    /// Those of [`DEFAULT`].
    pub const DEFAULT: Self = {
        let mut bits = 0;
        let mut rest: &[(Capability, &str)] = &DEFAULT;
        while let [(first, _), others @ ..] = rest {
            bits |= first.bit();
            rest = others;
        }
        Self(bits)
    };

    /// All that the running kernel knows.
    pub fn all() -> Self {
        Self(u64::MAX >> (63 - sets::last_capability()))
    }

    /// Those that this thread can use. Nobody can hand on more, unless to a new user namespace.
    ///
    /// # Errors
    /// What the kernel says; none is known.
    pub fn permitted() -> Result<Self, Errno> {
        sets::permitted()
    }

    /// Whether `capability` is one of them.
    pub fn contains(self, capability: Capability) -> bool {
        self.0 & capability.bit() != 0
    }

    /// Those of this set that are not in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those of this set that have a name, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::all_named().filter(move |&capability| self.contains(capability))
    }

    /// The default list, changed as docker's `--cap-add` and `--cap-drop` say: what is both dropped and
    /// added is granted; but `--cap-add ALL` grants all that are not dropped by name.
    pub fn changed(added: &[CapabilityChoice], dropped: &[CapabilityChoice]) -> Self {
        let add = CapabilityChoice::union(added);
        let drop = CapabilityChoice::union(dropped);
        match (add, drop) {
            (None, None) => Self::all(),
            (None, Some(drop)) => Self::all().without(drop),
            (Some(add), None) => add,
            (Some(add), Some(drop)) => Self::DEFAULT.without(drop) | add,
        }
    }
}

impl From<Capability> for Capabilities {
    fn from(capability: Capability) -> Self {
        Self(capability.bit())
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<T: IntoIterator<Item = Capability>>(capabilities: T) -> Self {
        capabilities.into_iter().fold(Self::NONE, |all, one| all | one.into())
    }
}

impl BitOr for Capabilities {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Capabilities {
    /// Their names, with a space between.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, capability) in self.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(out, "{space}{capability}")?;
        }
        Ok(())
    }
}

/// What `--cap-add` and `--cap-drop` take: a capability's name, or ALL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapabilityChoice {
    /// All of them.
    All,
    /// This one.
    One(Capability),
}

impl CapabilityChoice {
    /// The capabilities that are named; none if one says ALL.
    fn union(choices: &[Self]) -> Option<Capabilities> {
        choices.iter().try_fold(Capabilities::NONE, |all, choice| match choice {
            Self::All => None,
            Self::One(one) => Some(all | (*one).into()),
        })
    }
}

impl FromStr for CapabilityChoice {
    type Err = UnknownCapability;

    fn from_str(text: &str) -> Result<Self, UnknownCapability> {
        if text.eq_ignore_ascii_case("ALL") { Ok(Self::All) } else { text.parse().map(Self::One) }
    }
}

impl CapabilitySets {
    /// What a command that runs as `user` gets of what is granted, as docker has it: user 0 gets
    /// all, to others it is only a bound.
    pub fn of(user: Uid, granted: Capabilities) -> Self {
        let permitted = if user.is_root() { granted } else { Capabilities::NONE };
        Self { bounding: granted, permitted, ..Self::default() }
    }

    /// What a container's PID 1 has where this is granted to commands. It needs some for itself: to enter
    /// directories of other users, to start commands as these, at terminals of theirs, and to signal them.
    /// No exec hands those on, for they are not in the bounding set.
    pub fn of_init(granted: Capabilities) -> Self {
        let own: Capabilities = [
            Capability::CHOWN,
            Capability::DAC_OVERRIDE,
            Capability::KILL,
            Capability::SETGID,
            Capability::SETUID,
        ]
        .into_iter()
        .collect();
        Self { bounding: granted, permitted: granted | own, ..Self::default() }
    }
}

#[cfg(test)]
mod tests;
