//! The capabilities by name and number, `linux/capability.h`.

use std::fmt;
use std::str::FromStr;

/// One capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability(u8);

macro_rules! table {
    ($($number:literal $name:ident $meaning:literal)*) => {
        impl Capability {
            $(#[doc = $meaning] pub const $name: Self = Self($number);)*
        }

        const TABLE: &[(Capability, &str)] = &[$((Capability($number), stringify!($name)),)*];
    };
}

table! {
    0 CHOWN "Change owners of files."
    1 DAC_OVERRIDE "Bypass permissions of files."
    2 DAC_READ_SEARCH "Read files and search directories whatever their permissions."
    3 FOWNER "Do what only a file's owner may."
    4 FSETID "Keep set-user-id bits when a file is written."
    5 KILL "Signal processes of other users."
    6 SETGID "Change groups."
    7 SETUID "Change users."
    8 SETPCAP "Change the bounding set and add to the inheritable set."
    9 LINUX_IMMUTABLE "Set the immutable and append-only attributes of files."
    10 NET_BIND_SERVICE "Bind to ports below 1024."
    11 NET_BROADCAST "Unused by the kernel."
    12 NET_ADMIN "Configure networks."
    13 NET_RAW "Use raw and packet sockets."
    14 IPC_LOCK "Lock memory."
    15 IPC_OWNER "Bypass permissions of System V IPC objects."
    16 SYS_MODULE "Load and unload kernel modules."
    17 SYS_RAWIO "Use I/O ports and physical memory."
    18 SYS_CHROOT "Use chroot and join mount namespaces."
    19 SYS_PTRACE "Trace processes of other users."
    20 SYS_PACCT "Switch process accounting."
    21 SYS_ADMIN "Mount, make namespaces, and much else."
    22 SYS_BOOT "Reboot, and load another kernel."
    23 SYS_NICE "Raise priorities."
    24 SYS_RESOURCE "Exceed quotas and resource limits."
    25 SYS_TIME "Set the clock."
    26 SYS_TTY_CONFIG "Configure terminals."
    27 MKNOD "Make device nodes."
    28 LEASE "Take leases on files."
    29 AUDIT_WRITE "Write to the audit log."
    30 AUDIT_CONTROL "Configure auditing."
    31 SETFCAP "Give capabilities to files."
    32 MAC_OVERRIDE "Override mandatory access control."
    33 MAC_ADMIN "Configure mandatory access control."
    34 SYSLOG "Read the kernel's messages and addresses."
    35 WAKE_ALARM "Wake the system by a timer."
    36 BLOCK_SUSPEND "Keep the system from suspending."
    37 AUDIT_READ "Read the audit log."
    38 PERFMON "Observe performance of the whole system."
    39 BPF "Load BPF programs."
    40 CHECKPOINT_RESTORE "Restore process ids and the like."
}

impl Capability {
    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Those that have a name, in the order of their numbers.
    pub fn all_named() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|&(capability, _)| capability)
    }

    pub(super) const fn bit(self) -> u64 {
        1 << self.0
    }
}

impl fmt::Display for Capability {
    /// The name as capabilities(7) has it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match TABLE.iter().find(|(capability, _)| capability == self) {
            Some((_, name)) => write!(out, "CAP_{name}"),
            None => write!(out, "CAP_{}", self.0),
        }
    }
}

/// There is no such capability.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "there is no capability '{0}': take a name from capabilities(7), such as NET_ADMIN, or ALL"
)]
pub struct UnknownCapability(String);

impl FromStr for Capability {
    type Err = UnknownCapability;

    /// A name in upper or lower case, with CAP_ in front or without.
    fn from_str(text: &str) -> Result<Self, UnknownCapability> {
        let name = text.to_ascii_uppercase();
        let name = name.strip_prefix("CAP_").unwrap_or(&name);
        let found = TABLE.iter().find(|(_, known)| *known == name);
        found.map(|&(capability, _)| capability).ok_or_else(|| UnknownCapability(text.into()))
    }
}
