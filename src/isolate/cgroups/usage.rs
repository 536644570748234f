//! What a group has used.

use serde::{Deserialize, Serialize};

use super::group::{Group, Version};
use super::{v1, v2};

/// What has been counted. What the host does not count for this group is not there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
    /// Processes and threads.
    pub tasks: Tasks,
    /// Block devices.
    pub io: Option<Io>,
    /// Waiting for any of these.
    pub pressure: Pressures,
}

/// CPU time, in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// All of it.
    pub total_us: Option<u64>,
    /// In programs.
    pub user_us: Option<u64>,
    /// In the kernel.
    pub system_us: Option<u64>,
    /// Periods in which it ran, where time is limited.
    pub periods: Option<u64>,
    /// Those of them in which it used up its time.
    pub throttled_periods: Option<u64>,
    /// How long its tasks then had to wait, together.
    pub throttled_us: Option<u64>,
}

/// Memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Now.
    pub current: Option<u64>,
    /// At most.
    pub peak: Option<u64>,
    /// Permitted; none without a limit.
    pub limit: Option<u64>,
    /// Processes that were killed because there was no more.
    pub oom_kills: Option<u64>,
}

/// Numbers of tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tasks {
    /// Now.
    pub current: Option<u64>,
    /// Permitted; none without a limit.
    pub limit: Option<u64>,
}

/// What went to and came from block devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Io {
    /// Bytes that were read.
    pub read_bytes: u64,
    /// Bytes that were written.
    pub written_bytes: u64,
    /// Operations that read.
    pub reads: u64,
    /// Operations that wrote.
    pub writes: u64,
}

/// Pressure on each resource; only groups of version 2 have it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pressures {
    /// Waiting for a CPU.
    pub cpu: Option<Pressure>,
    /// Waiting for memory.
    pub memory: Option<Pressure>,
    /// Waiting for block devices.
    pub io: Option<Pressure>,
}

/// Time in which at least one task waited for a resource.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pressure {
    /// Its share of the last ten seconds, in percent.
    pub last_10s: f64,
    /// Its share of the last minute, in percent.
    pub last_60s: f64,
    /// All of it, in microseconds.
    pub total_us: u64,
}

impl Group {
    /// What its processes have used until now, those that have ended included.
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        // Version 2 comes first: it counts CPU time without a controller, and on a mixed host the
        // controllers of version 1 then tell the rest.
        for member in self.members() {
            match member.version {
                Version::Two => v2::add_usage(&member.path, &mut usage),
                Version::One => {
                    for controller in &member.controllers {
                        v1::add_usage(&member.path, *controller, &mut usage);
                    }
                }
            }
        }
        usage
    }
}
