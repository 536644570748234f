//! What an instance may use.

use std::error::Error;
use std::ops::Deref;

use crate::cli::say;
use crate::instances::Instance;
use crate::isolate::cgroups::{Cgroups, DeviceRule, Group, Purpose};
use crate::workload::{
    Bound, CpuQuota, CpuSet, CpuShares, DeviceRate, LimitError, Limits, MemoryLimit,
};

/// The group above those of all instances.
const PARENT: &str = "duplex";

/// How many tasks there may be, unless said otherwise: many more than most programs have, and far too
/// few to keep others from starting any.
const TASKS: u64 = 4096;

/// The options, called as docker calls them.
#[derive(clap::Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct LimitArgs {
    /// How many CPUs: for a container as a fraction of their time, such as 0.5; for a VM the number of
    /// vCPUs, 1 to 32 [default: a VM has 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(super) cpus: Option<String>,
    /// How much memory: in bytes, or with K, M, G or T; at least 6M, and 32M for a VM. What is
    /// written to the root file system takes of it, unless --keep is given [default: a VM has 256M]
    #[arg(long, short, value_name = "SIZE", allow_negative_numbers = true)]
    pub(super) memory: Option<String>,
    /// Its share of the CPUs when others want them too: 2 to 262144, others have 1024
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    cpu_shares: Option<CpuShares>,
    /// The CPUs that it may run on, such as 0-2,5
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<CpuSet>,
    /// Memory and swap space together; -1 for no limit
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = Bound::of_bytes)]
    memory_swap: Option<Bound>,
    /// What it keeps of its memory when this host runs short
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true)]
    memory_reservation: Option<MemoryLimit>,
    /// How many processes and threads; -1 for no limit [default: 4096]
    #[arg(long, alias = "pids", value_name = "N", allow_hyphen_values = true, value_parser = Bound::of_tasks)]
    pids_limit: Option<Bound>,
    /// Bytes a second from a block device. Can be given again, for another
    #[arg(long, value_name = "PATH:RATE", value_parser = DeviceRate::of_bytes)]
    device_read_bps: Vec<DeviceRate>,
    /// Bytes a second to a block device
    #[arg(long, value_name = "PATH:RATE", value_parser = DeviceRate::of_bytes)]
    device_write_bps: Vec<DeviceRate>,
    /// Read operations a second on a block device
    #[arg(long, value_name = "PATH:RATE", value_parser = DeviceRate::of_operations)]
    device_read_iops: Vec<DeviceRate>,
    /// Write operations a second on a block device
    #[arg(long, value_name = "PATH:RATE", value_parser = DeviceRate::of_operations)]
    device_write_iops: Vec<DeviceRate>,
}

impl LimitArgs {
    /// What a control group is to limit.
    pub(super) fn read(&self) -> Result<Limits, LimitError> {
        let limits = Limits {
            cpus: self.cpus.as_deref().map(str::parse::<CpuQuota>).transpose()?,
            cpu_shares: self.cpu_shares,
            cpuset_cpus: self.cpuset_cpus.clone(),
            memory: self.memory.as_deref().map(str::parse).transpose()?,
            memory_swap: self.memory_swap,
            memory_reservation: self.memory_reservation,
            pids: self.pids_limit,
            device_read_bps: self.device_read_bps.clone(),
            device_write_bps: self.device_write_bps.clone(),
            device_read_iops: self.device_read_iops.clone(),
            device_write_iops: self.device_write_iops.clone(),
            hugetlb: Vec::new(),
        };
        limits.check()?;
        Ok(limits)
    }
}

/// An instance's control group, removed when this is dropped, with whatever runs in it.
pub(super) struct OwnGroup(Group);

impl Deref for OwnGroup {
    type Target = Group;

    fn deref(&self) -> &Group {
        &self.0
    }
}

impl Drop for OwnGroup {
    fn drop(&mut self) {
        let removed = self.0.remove().or_else(|_| self.0.kill_all().and_then(|()| self.0.remove()));
        if let Err(error) = removed {
            say(error);
        }
    }
}

/// Makes an instance's control group, in which no devices work but `devices`, if that says any.
pub(super) fn group(
    instance: &Instance,
    name: &str,
    limits: &Limits,
    devices: Option<&[DeviceRule]>,
) -> Result<OwnGroup, Box<dyn Error>> {
    let purpose =
        Purpose { limits, default_tasks: Some(TASKS), besides: Purpose::COUNTED, devices };
    let plan = Cgroups::find(PARENT)?.plan(name, &purpose)?;
    instance.remember(plan.group())?;
    Ok(OwnGroup(plan.create()?))
}
