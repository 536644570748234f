//! What a container's PID 1 does, one value a step.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::isolate::capabilities::Capabilities;
use crate::workload::Tmpfs;

/// One step. Paths are the container's, unless they are called the host's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Step {
    /// Enters the control groups of version 1, and may make its groups the root of those it sees.
    EnterGroups { shown_as_root: bool },
    /// Waits for what is prepared outside.
    Await,
    /// Takes the ids of user and group 0.
    BecomeRoot,
    /// Maps the caller to user and group 0.
    MapCaller,
    /// Cuts the mounts off from the host's.
    SeparateMounts,
    /// Lays a writable layer over the image.
    LayImage,
    /// Opens directories of the host.
    OpenVolumes,
    /// Makes the layered image the root.
    EnterRoot,
    /// Mounts a file system of the kernel.
    Mount { kind: String, at: String, flags: u64, options: String },
    /// Shows a device of the host.
    Device(String),
    /// Mounts memory where it was asked for.
    Tmpfs(Tmpfs),
    /// Makes a symbolic link.
    Link { at: String, to: String },
    /// Shows a directory of the host.
    Volume { number: usize, at: PathBuf },
    /// Hides what is there behind something empty.
    Mask(String),
    /// Forbids writing to what is there.
    ReadOnly(String),
    /// Lets go of the host's mounts and of what is open of them.
    LeaveHost,
    /// Makes /tmp, where the image has none.
    Temporary,
    /// Sets the host name.
    HostName(String),
    /// Starts the loopback interface.
    Loopback,
    /// Starts eth0, which was put there from outside.
    Interface,
    /// Limits how many bytes a second eth0 sends.
    Rate(u64),
    /// Says who is asked for names.
    Resolver,
    /// Shows the host's sysfs.
    HostSysfs,
    /// Forbids writing to the root.
    ReadOnlyRoot,
    /// Has the kernel kill it early when memory is short.
    OomScore(i16),
    /// Gives up writing anywhere but in these trees, if there is a list, and reaching processes outside.
    Landlock(Option<Vec<PathBuf>>),
    /// Forgets which signals the caller ignores.
    AllSignals,
    /// Starts the clock of uptimes anew.
    OwnClock,
    /// Leaves the caller's keys behind.
    OwnKeyring,
    /// Makes PID 1 invisible to debuggers.
    Hide,
    /// Limits commands to these capabilities, and itself to them and those that it starts commands with.
    Capabilities(Capabilities),
    /// Filters its system calls, and those of all commands.
    Filter,
    /// Gives up the gaining of privileges by executing something.
    NoNewPrivileges,
}

impl Step {
    /// Whether it depends on what the container's network has become.
    pub(super) fn wants_network(&self) -> bool {
        matches!(self, Self::Interface | Self::Rate(_) | Self::Resolver)
    }

    /// Why it is taken.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::EnterGroups { shown_as_root: true } => {
                "what it uses is counted and limited; others' groups are out of sight"
            }
            Self::EnterGroups { shown_as_root: false } => "what it uses is counted and limited",
            Self::Await => "only root of the host may map users and open the host's directories",
            Self::BecomeRoot => {
                "it has no other groups, and no user that its namespace does not know"
            }
            Self::MapCaller => "an unmapped user can make no file",
            Self::SeparateMounts => "no mount made here shows up on the host",
            Self::LayImage => "the image stays as it is, and what is written vanishes",
            Self::OpenVolumes => "asked for; afterwards no path leads to them",
            Self::EnterRoot => "pivot_root(2): unlike chroot there is nothing to break out to",
            Self::Mount { .. } => "programs expect it (OCI runtime specification, config-linux)",
            Self::Device(_) => {
                "the harmless ones that programs expect; the container can make none"
            }
            Self::Tmpfs(_) => "asked for; it is gone with the container",
            Self::Link { .. } => {
                "programs expect it (OCI runtime specification, Dev symbolic links)"
            }
            Self::Volume { .. } => "asked for; the path is looked up in the container's root alone",
            Self::Mask(_) => "it tells about the host, or could change it",
            Self::ReadOnly(_) => "it could change the host's kernel",
            Self::LeaveHost => "no path leads to the host any more, nor does a descriptor",
            Self::Temporary => "programs count on it; an image may do without",
            Self::HostName(_) => "it is known by its own name",
            Self::Loopback => "the kernel leaves it down",
            Self::Interface => "it has the address that nobody else has on its network",
            Self::Rate(_) => "asked for; to change it takes CAP_NET_ADMIN, which it does not have",
            Self::Resolver => "names are looked up where this host looks them up",
            Self::HostSysfs => {
                "a new one is for who owns the network namespace; this one cannot be written to"
            }
            Self::ReadOnlyRoot => "asked for",
            Self::OomScore(_) => "asked for",
            Self::Landlock(None) => {
                "a second wall behind the network and PID namespaces, where the kernel has it (landlock(7))"
            }
            Self::Landlock(Some(_)) => {
                "a second wall behind read-only mounts and namespaces, where the kernel has it (landlock(7))"
            }
            Self::AllSignals => "a signal does to the command what it does everywhere",
            Self::OwnClock => "its uptime is its own, not the host's (time_namespaces(7))",
            Self::OwnKeyring => "the caller's keys stay out of reach (session-keyring(7))",
            Self::Capabilities(_) => {
                "docker's default, or asked for; what PID 1 itself has besides, no exec hands on"
            }
            Self::Hide => "nobody can read or change duplex through /proc/1 (CVE-2019-5736)",
            Self::Filter => {
                "who may gain privileges cannot filter their own calls: all inherit this (seccomp(2))"
            }
            Self::NoNewPrivileges => "set-user-id programs gain nothing (PR_SET_NO_NEW_PRIVS)",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EnterGroups { shown_as_root: true } => {
                write!(f, "enter the groups of version 1, and a cgroup namespace")
            }
            Self::EnterGroups { shown_as_root: false } => {
                write!(f, "enter the groups of version 1")
            }
            Self::Await => write!(f, "wait for users, image and volumes"),
            Self::BecomeRoot => write!(f, "become user 0 inside"),
            Self::MapCaller => write!(f, "map the caller to user 0 inside"),
            Self::SeparateMounts => write!(f, "make all mounts private"),
            Self::LayImage => write!(f, "lay a writable layer over the image"),
            Self::OpenVolumes => write!(f, "open the volumes"),
            Self::EnterRoot => write!(f, "make the layered image the root"),
            Self::Mount { kind, at, .. } => write!(f, "mount {kind} at {at}"),
            Self::Device(name) => write!(f, "show the host's /dev/{name}"),
            Self::Tmpfs(tmpfs) => write!(f, "mount memory at {}", tmpfs.at.display()),
            Self::Link { at, to } => write!(f, "link {at} to {to}"),
            Self::Volume { at, .. } => {
                write!(f, "show a directory of the host at {}", at.display())
            }
            Self::Mask(path) => write!(f, "mask {path}"),
            Self::ReadOnly(path) => write!(f, "make {path} read-only"),
            Self::LeaveHost => write!(f, "unmount the host's tree"),
            Self::Temporary => write!(f, "make /tmp if there is none"),
            Self::HostName(name) => write!(f, "set the host name to {name}"),
            Self::Loopback => write!(f, "start the loopback interface"),
            Self::Interface => write!(f, "start eth0, with its address and a default route"),
            Self::Rate(rate) => write!(f, "let eth0 send {rate} bytes a second (tc-tbf(8))"),
            Self::Resolver => write!(f, "write /etc/resolv.conf"),
            Self::HostSysfs => write!(f, "show the host's /sys, read-only"),
            Self::ReadOnlyRoot => write!(f, "make the root read-only"),
            Self::OomScore(score) => write!(f, "raise the OOM score to {score}"),
            Self::Landlock(writable) => {
                let outside = "signals and abstract sockets of processes outside";
                match writable.as_deref() {
                    None => write!(f, "give up {outside}"),
                    Some(trees) => {
                        let trees: Vec<_> =
                            trees.iter().map(|tree| tree.display().to_string()).collect();
                        write!(f, "give up {outside}, and writing but in {}", trees.join(", "))
                    }
                }
            }
            Self::AllSignals => write!(f, "let all signals do what they do by default"),
            Self::OwnClock => write!(f, "start the clock of uptimes at zero"),
            Self::OwnKeyring => write!(f, "join a new session keyring"),
            Self::Capabilities(Capabilities::NONE) => write!(f, "leave commands no capabilities"),
            Self::Capabilities(granted) => write!(f, "leave commands the capabilities {granted}"),
            Self::Hide => {
                write!(f, "make PID 1 undumpable, and forget what duplex was called with")
            }
            Self::Filter => write!(f, "put all of it behind a filter on system calls"),
            Self::NoNewPrivileges => write!(f, "give up gaining privileges by exec"),
        }
    }
}
