//! Namespaces: which views of the system a new process gets for itself, namespaces(7).

use std::fs;
use std::io;
use std::ops::BitOr;

use nix::unistd::{Gid, Pid, Uid};

/// A set of namespaces to create with a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespaces(u64);

impl Namespaces {
    /// None: the process shares everything with its parent.
    pub const NONE: Self = Self(0);
    /// Mounts of its own, mount_namespaces(7).
    pub const MOUNT: Self = Self(flag(libc::CLONE_NEWNS));
    /// Process ids of its own: the process is PID 1, and when it ends, the kernel kills whatever
    /// else lives there, pid_namespaces(7).
    pub const PID: Self = Self(flag(libc::CLONE_NEWPID));
    /// A network of its own, with a loopback interface that is down, network_namespaces(7).
    pub const NETWORK: Self = Self(flag(libc::CLONE_NEWNET));
    /// System V and POSIX message queues of its own, ipc_namespaces(7).
    pub const IPC: Self = Self(flag(libc::CLONE_NEWIPC));
    /// A host name of its own, uts_namespaces(7).
    pub const UTS: Self = Self(flag(libc::CLONE_NEWUTS));
    /// Its own control group is the root of those it sees, cgroup_namespaces(7).
    pub const CGROUP: Self = Self(flag(libc::CLONE_NEWCGROUP));
    /// Users of its own, which is how an ordinary user may create the others,
    /// user_namespaces(7). Needs an [`IdentityMap`].
    pub const USER: Self = Self(flag(libc::CLONE_NEWUSER));

    /// Whether all of `other` are in this set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits as clone3(2) takes them.
    pub(super) fn clone_flags(self) -> u64 {
        self.0
    }
}

impl BitOr for Namespaces {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Widens a namespace flag; all of them are positive and fit.
const fn flag(bits: libc::c_int) -> u64 {
    bits.unsigned_abs() as u64
}

/// Which user and group outside a user namespace is user and group 0 inside.
///
/// One line each: that is what an ordinary user may write without setuid helpers. Every other id
/// of the outside shows as 65534 (nobody) inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentityMap {
    /// The user outside.
    pub uid: Uid,
    /// The group outside.
    pub gid: Gid,
}

impl IdentityMap {
    /// The calling process's own effective ids.
    pub fn of_caller() -> Self {
        Self { uid: Uid::effective(), gid: Gid::effective() }
    }

    /// What goes into the process's uid_map.
    pub(super) fn uid_line(self) -> String {
        format!("0 {} 1\n", self.uid)
    }

    /// What goes into the process's gid_map.
    pub(super) fn gid_line(self) -> String {
        format!("0 {} 1\n", self.gid)
    }
}

/// Gives a process's new user namespace `count` users and groups, numbered from 0 inside and from
/// `first` outside. For root of the namespace outside, user_namespaces(7).
pub(crate) fn map_range(pid: Pid, first: u32, count: u32) -> io::Result<()> {
    let line = format!("0 {first} {count}\n");
    for map in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{pid}/{map}"), &line)?;
    }
    Ok(())
}

/// Makes the caller, by its ids outside, user and group 0 of the user namespace that it is in. It can
/// have no other groups then.
pub(crate) fn map_self(map: IdentityMap) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", map.uid_line())?;
    fs::write("/proc/self/gid_map", map.gid_line())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets() {
        let both = Namespaces::MOUNT | Namespaces::PID;
        assert!(both.contains(Namespaces::PID) && !both.contains(Namespaces::USER));
        assert_eq!(both.clone_flags(), 0x2002_0000);
        assert!(both.contains(Namespaces::NONE));
    }

    #[test]
    fn maps_one_id() {
        let map = IdentityMap { uid: Uid::from_raw(1000), gid: Gid::from_raw(100) };
        assert_eq!((map.uid_line(), map.gid_line()), ("0 1000 1\n".into(), "0 100 1\n".into()));
    }
}
