//! What an instance may use.

use std::error::Error;
use std::io;
use std::ops::Deref;

use crate::cli::say;
use crate::instances::Instance;
use crate::isolate::cgroups::{self, Cgroups, DeviceRule, Group, Plan, Purpose};
use crate::isolate::rlimits::{self, Ulimit, UlimitError};
use crate::random::random_bytes;
use crate::workload::{
    Bound, CpuQuota, CpuSet, CpuShares, Cpus, DeviceRate, HugePages, LimitError, Limits,
    MemoryLimit, MemorySize,
};

/// How many tasks there may be, unless said otherwise: many more than most programs have, and far too
/// few to keep others from starting any.
const TASKS: u64 = 4096;

/// The options, called as docker calls them.
#[derive(clap::Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct LimitArgs {
    /// How much time of how many CPUs, as a fraction, such as 0.5. A VM has as many vCPUs as it takes, 32
    /// at most [default: a VM has 1, a container all]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    cpus: Option<CpuQuota>,
    /// How much memory: in bytes, or with K, M, G or T; at least 6M, and 32M for a VM. What is
    /// written to the root file system takes of it, unless --keep is given [default: a VM has 256M]
    #[arg(long, short, value_name = "SIZE", allow_negative_numbers = true)]
    memory: Option<MemoryLimit>,
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
    /// How many processes and threads; -1 for no limit [default: a container has 4096]
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
    /// With --container: bytes of huge pages of one size, such as 2M:64M. Can be given again, for another
    #[arg(long, value_name = "PAGE:SIZE")]
    hugetlb_limit: Vec<HugePages>,
    /// The control group that its own is made in, beside that of duplex; made if
    /// missing, and never removed. Its limits are for all in it together
    #[arg(long, value_name = "NAME")]
    cgroup_parent: Option<String>,
    /// A resource limit of each command, with the names of limits.conf(5), such as nofile=1024:4096; -1 for
    /// no limit. Can be given again
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub(super) ulimit: Vec<Ulimit>,
    /// How early this host's kernel kills it when memory is short: 0 to 1000, others have 0
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(i16).range(0..=1000)
    )]
    pub(super) oom_score_adj: Option<i16>,
}

impl LimitArgs {
    /// The group above that of the instance.
    pub(super) fn parent(&self) -> String {
        self.cgroup_parent.clone().unwrap_or_else(|| Cgroups::NAME.to_owned())
    }

    /// What a container's control group is to limit.
    pub(super) fn read(&self) -> Result<Limits, LimitError> {
        let limits = Limits {
            cpus: self.cpus,
            cpu_shares: self.cpu_shares,
            cpuset_cpus: self.cpuset_cpus.clone(),
            memory: self.memory,
            memory_swap: self.memory_swap,
            memory_reservation: self.memory_reservation,
            pids: self.pids_limit,
            device_read_bps: self.device_read_bps.clone(),
            device_write_bps: self.device_write_bps.clone(),
            device_read_iops: self.device_read_iops.clone(),
            device_write_iops: self.device_write_iops.clone(),
            hugetlb: self.hugetlb_limit.clone(),
        };
        limits.check()?;
        Ok(limits)
    }

    /// The resource limits, if commands on this host can have them.
    pub(super) fn ulimits_here(&self) -> Result<Vec<Ulimit>, UlimitError> {
        let limits = rlimits::last_of_each(&self.ulimit);
        limits.iter().try_for_each(Ulimit::check)?;
        Ok(limits)
    }

    /// What a VM is to be, so that it cannot use more. `helpers` is how many programs of this host
    /// serve it.
    pub(super) fn of_vm(&self, helpers: usize) -> Result<VmLimits, Box<dyn Error>> {
        if !self.hugetlb_limit.is_empty() {
            return Err(
                "--hugetlb-limit: no VM has its memory in such pages: leave it away, or add \
                        --container"
                    .into(),
            );
        }
        let cpus = self.cpus.map_or(Ok(Cpus::default()), Cpus::for_quota)?;
        let size =
            MemorySize::try_from(self.memory.map_or(MemorySize::default().bytes(), u64::from))?;
        let mut limits = self.read()?;
        // The processes are the guest's, and counted there.
        limits.pids = None;
        let besides = overhead(size, helpers);
        limits.memory = limits.memory.map(|memory| memory.plus(besides));
        limits.memory_swap = limits.memory_swap.map(|both| both.plus(besides));
        let tasks = match self.pids_limit {
            Some(Bound::AtMost(most)) => Some(most),
            Some(Bound::Unlimited) | None => None,
        };
        Ok(VmLimits { cpus, memory: size, group: limits, tasks })
    }
}

/// What limits a VM, and where.
pub(super) struct VmLimits {
    /// vCPUs.
    pub(super) cpus: Cpus,
    /// The guest's memory.
    pub(super) memory: MemorySize,
    /// On the VMM's control group.
    pub(super) group: Limits,
    /// Processes and threads, in the guest.
    pub(super) tasks: Option<u64>,
}

/// What a VM's control group must hold beside the guest's memory, in bytes: see "What a VM takes
/// besides" in docs/container.md.
fn overhead(memory: MemorySize, helpers: usize) -> u64 {
    const VMM: u64 = 32 << 20;
    const HELPER: u64 = 64 << 20;
    // Page tables, the host's and those of KVM: 8 bytes for each 4096, twice.
    let tables = memory.bytes() / 128;
    VMM + tables + HELPER.saturating_mul(u64::try_from(helpers).unwrap_or(u64::MAX))
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

/// Makes a container's control group, in that of this name. No devices work in it but `devices`, if that
/// says any.
pub(super) fn group(
    instance: &Instance,
    name: &str,
    limits: &Limits,
    parent: &str,
    devices: Option<&[DeviceRule]>,
) -> Result<OwnGroup, Box<dyn Error>> {
    let plan = plan(&unique(name)?, limits, parent, devices)?;
    instance.remember(plan.group())?;
    Ok(OwnGroup(plan.create()?))
}

/// Makes a VM's. Where none can be had, it goes without those limits that its size is anyway.
pub(super) fn group_of_vm(
    instance: &Instance,
    name: &str,
    limits: &Limits,
    parent: &str,
) -> Result<OwnGroup, Box<dyn Error>> {
    let name = unique(name)?;
    let plan = match plan(&name, limits, parent, None) {
        Err(cgroups::Error::NotPermitted(_) | cgroups::Error::NotAvailable(_)) => {
            plan(&name, &beyond_size(limits), parent, None)?
        }
        other => other?,
    };
    instance.remember(plan.group())?;
    Ok(OwnGroup(plan.create()?))
}

/// Plans a control group. No devices work in it but `devices`, if that says any.
pub(super) fn plan(
    name: &str,
    limits: &Limits,
    parent: &str,
    devices: Option<&[DeviceRule]>,
) -> Result<Plan, cgroups::Error> {
    let purpose =
        Purpose { limits, default_tasks: Some(TASKS), besides: Purpose::COUNTED, devices };
    Cgroups::find(parent)?.plan(name, &purpose)
}

/// What the group is called: there is one tree of groups, and other state directories have instances of
/// that name, too.
fn unique(name: &str) -> io::Result<String> {
    let [a, b, c] = random_bytes()?;
    Ok(format!("{name}-{a:02x}{b:02x}{c:02x}"))
}

/// Those that neither the number of vCPUs nor the guest's memory is already.
fn beyond_size(limits: &Limits) -> Limits {
    let mut limits = limits.clone();
    limits.cpus = limits.cpus.filter(|cpus| cpus.quota() % CpuQuota::PERIOD != 0);
    limits.memory = limits.memory.filter(|_| limits.memory_swap.is_some());
    limits
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        limits: LimitArgs,
    }

    fn vm(options: &str, helpers: usize) -> Result<VmLimits, String> {
        let words = ["run"].into_iter().chain(options.split_whitespace());
        let command = Command::try_parse_from(words).map_err(|error| error.to_string())?;
        command.limits.of_vm(helpers).map_err(|error| error.to_string())
    }

    #[test]
    fn a_vm_is_limited_by_its_size_and_its_group() {
        let none = vm("", 0).unwrap();
        assert_eq!((none.cpus.count(), none.memory, none.tasks), (1, MemorySize::default(), None));
        assert!(none.group.is_empty());
        let half = vm("--cpus 0.5 --pids-limit 9", 0).unwrap();
        assert_eq!((half.cpus.count(), half.tasks, half.group.pids), (1, Some(9), None));
        assert_eq!(half.group.cpus.map(CpuQuota::quota), Some(50_000));
        assert_eq!(vm("--cpus 1.01 --pids-limit -1", 0).unwrap().cpus.count(), 2);
        let sized = vm("--memory 64M --memory-swap 96M", 1).unwrap();
        assert_eq!(sized.memory.bytes(), 64 << 20);
        let besides = (32 << 20) + (64 << 20) / 128 + (64 << 20);
        assert_eq!(sized.group.memory.map(u64::from), Some((64 << 20) + besides));
        assert_eq!(sized.group.memory_swap, Some(Bound::AtMost((96 << 20) + besides)));
        for (options, reason) in [
            ("--cpus 33", "is not a number of vCPUs"),
            ("--memory 16M", "give at least 32M"),
            ("--memory 64M --memory-swap 32M", "give at least the 67108864 bytes"),
            ("--hugetlb-limit 2M:2M", "add --container"),
            ("--oom-score-adj -1", "0..=1000"),
        ] {
            let refused = vm(options, 0).err().unwrap();
            assert!(refused.contains(reason), "{options}: {refused}");
        }
    }

    #[test]
    fn without_a_group_a_vm_has_its_size() {
        let left = |options| beyond_size(&vm(options, 0).unwrap().group);
        assert!(left("--cpus 2 --memory 64M").is_empty());
        assert!(left("--cpus 1.5").cpus.is_some());
        assert!(left("--memory 64M --memory-swap -1").memory.is_some());
        assert!(left("--cpu-shares 2").cpu_shares.is_some());
    }
}
