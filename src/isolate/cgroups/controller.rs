//! What the kernel can limit or count, and the names it has in both versions.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A part of the kernel that works on control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Controller {
    /// CPU time.
    Cpu,
    /// Accounting of CPU time: version 1 has a controller for it, in version 2 every group has it.
    Cpuacct,
    /// CPUs and memory nodes.
    Cpuset,
    /// Memory and swap space.
    Memory,
    /// Block devices.
    Io,
    /// Numbers of tasks.
    Pids,
    /// Device nodes: a controller of version 1; in version 2 it takes a BPF program.
    Devices,
    /// Stopping tasks: a controller of version 1; in version 2 every group can be stopped.
    Freezer,
    /// Huge pages.
    Hugetlb,
}

impl Controller {
    pub(super) const ALL: [Self; 9] = [
        Self::Cpu,
        Self::Cpuacct,
        Self::Cpuset,
        Self::Memory,
        Self::Io,
        Self::Pids,
        Self::Devices,
        Self::Freezer,
        Self::Hugetlb,
    ];

    /// What version 1 calls it.
    pub(super) fn legacy(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuacct => "cpuacct",
            Self::Cpuset => "cpuset",
            Self::Memory => "memory",
            Self::Io => "blkio",
            Self::Pids => "pids",
            Self::Devices => "devices",
            Self::Freezer => "freezer",
            Self::Hugetlb => "hugetlb",
        }
    }

    /// What version 2 calls it, where it has to be enabled: else every group can do it.
    pub(super) fn unified(self) -> Option<&'static str> {
        match self {
            Self::Io => Some("io"),
            Self::Cpuacct | Self::Devices | Self::Freezer => None,
            other => Some(other.legacy()),
        }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.unified().unwrap_or(self.legacy()))
    }
}
