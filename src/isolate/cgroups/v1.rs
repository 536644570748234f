//! The files of version 1, Linux, Documentation/admin-guide/cgroup-v1/ and scheduler/sched-bwc.rst.

use std::path::Path;

use super::controller::Controller;
use super::files::{number, read, value};
use super::limits::{Setting, Wanted};
use super::usage::{Io, Usage};
use crate::workload::{Bound, CpuQuota};

/// The file by which a task moves itself without waiting for others, see
/// [`Group::entrances`](super::Group::entrances).
pub(super) const TASKS: &str = "tasks";

/// What stands for no limit on memory is as many whole pages as are fewer than this.
const NO_LIMIT: u64 = 1 << 62;

/// The values for a controller.
pub(super) fn settings(wanted: &Wanted<'_>, controller: Controller) -> Vec<Setting> {
    let limits = wanted.limits;
    match controller {
        Controller::Cpu => {
            let shares = limits.cpu_shares.map(|shares| {
                Setting::new(
                    "cpu.shares",
                    shares.shares(),
                    "--cpu-shares: the share when CPUs are scarce",
                )
            });
            let quota = limits.cpus.map(|cpus| {
                [
                    Setting::new(
                        "cpu.cfs_period_us",
                        CpuQuota::PERIOD,
                        "--cpus: time is counted in these",
                    ),
                    Setting::new(
                        "cpu.cfs_quota_us",
                        cpus.quota(),
                        "--cpus: CPU time in each period",
                    ),
                ]
            });
            shares.into_iter().chain(quota.into_iter().flatten()).collect()
        }
        Controller::Cpuset => limits
            .cpuset_cpus
            .iter()
            .map(|cpus| Setting::new("cpuset.cpus", cpus, "--cpuset-cpus: where it runs"))
            .collect(),
        Controller::Memory => memory(wanted),
        Controller::Io => {
            let files = [
                "blkio.throttle.read_bps_device",
                "blkio.throttle.write_bps_device",
                "blkio.throttle.read_iops_device",
                "blkio.throttle.write_iops_device",
            ];
            let each = wanted.throttles.iter().flat_map(|device| {
                files.into_iter().zip(device.rates).filter_map(|(file, rate)| {
                    let value = format!("{}:{} {}", device.major, device.minor, rate?);
                    Some(Setting::new(file, value, "a rate of a block device"))
                })
            });
            each.collect()
        }
        Controller::Pids => limits
            .pids
            .iter()
            .map(|most| {
                Setting::new(
                    "pids.max",
                    most,
                    "the number of tasks, so that none can fork without end",
                )
            })
            .collect(),
        Controller::Hugetlb => limits
            .hugetlb
            .iter()
            .map(|pages| {
                let file = format!("hugetlb.{}.limit_in_bytes", pages.size());
                Setting::new(file, pages.limit(), "huge pages of one size")
            })
            .collect(),
        Controller::Devices => match wanted.devices {
            None => Vec::new(),
            Some(rules) => {
                let none = Setting::new("devices.deny", "a", "no devices but these:");
                let allow =
                    rules.iter().map(|rule| Setting::new("devices.allow", rule, rule.reason));
                [none].into_iter().chain(allow).collect()
            }
        },
        Controller::Cpuacct | Controller::Freezer => Vec::new(),
    }
}

/// The limit on both comes second: it is never below the one on memory alone.
fn memory(wanted: &Wanted<'_>) -> Vec<Setting> {
    const BOTH: &str = "memory.memsw.limit_in_bytes";
    let limits = wanted.limits;
    let mut settings = Vec::new();
    if let Some(reserved) = limits.memory_reservation {
        let reason = "--memory-reservation: what it keeps when memory is scarce";
        settings.push(Setting::new("memory.soft_limit_in_bytes", reserved.bytes(), reason));
    }
    let Some(memory) = limits.memory.map(u64::from) else { return settings };
    settings.push(Setting::new(
        "memory.limit_in_bytes",
        memory,
        "--memory: who needs more is killed",
    ));
    let reason = "--memory-swap: memory and swap space together";
    settings.push(match limits.memory_swap {
        Some(Bound::Unlimited) => Setting::new(BOTH, -1, reason),
        Some(Bound::AtMost(both)) => Setting::new(BOTH, both, reason),
        // A kernel that does not count swap space can't limit it, and docker's default is no promise.
        None => {
            Setting::new(BOTH, memory.saturating_mul(2), "as much swap space as memory, as docker")
                .where_known()
        }
    });
    settings
}

/// Adds what a group of this hierarchy has counted.
pub(super) fn add_usage(group: &Path, controller: Controller, usage: &mut Usage) {
    let file = |name: &str| group.join(name);
    let micros = |name: &str| number(&file(name)).map(|nanos| nanos / 1000);
    match controller {
        Controller::Cpu => {
            let Some(text) = read(&file("cpu.stat")) else { return };
            usage.cpu.periods = value(&text, "nr_periods");
            usage.cpu.throttled_periods = value(&text, "nr_throttled");
            usage.cpu.throttled_us = value(&text, "throttled_time").map(|nanos| nanos / 1000);
        }
        Controller::Cpuacct => {
            usage.cpu.total_us = micros("cpuacct.usage");
            usage.cpu.user_us = micros("cpuacct.usage_user");
            usage.cpu.system_us = micros("cpuacct.usage_sys");
        }
        Controller::Memory => {
            usage.memory.current = number(&file("memory.usage_in_bytes"));
            usage.memory.peak = number(&file("memory.max_usage_in_bytes"));
            usage.memory.limit =
                number(&file("memory.limit_in_bytes")).filter(|limit| *limit < NO_LIMIT);
            usage.memory.oom_kills = oom_kills(group);
        }
        Controller::Pids => {
            usage.tasks.current = number(&file("pids.current"));
            usage.tasks.limit = number(&file("pids.max"));
        }
        Controller::Io => {
            let bytes =
                read(&file("blkio.throttle.io_service_bytes_recursive")).unwrap_or_default();
            let operations =
                read(&file("blkio.throttle.io_serviced_recursive")).unwrap_or_default();
            let sum = |text: &str, word: &str| {
                let of_line = |line: &str| {
                    let mut words = line.split_whitespace().skip(1);
                    (words.next() == Some(word))
                        .then(|| words.next()?.parse::<u64>().ok())
                        .flatten()
                };
                text.lines().filter_map(of_line).fold(0, u64::saturating_add)
            };
            usage.io = Some(Io {
                read_bytes: sum(&bytes, "Read"),
                written_bytes: sum(&bytes, "Write"),
                reads: sum(&operations, "Read"),
                writes: sum(&operations, "Write"),
            });
        }
        Controller::Cpuset | Controller::Devices | Controller::Freezer | Controller::Hugetlb => {}
    }
}

/// How many processes were killed for want of memory.
pub(super) fn oom_kills(group: &Path) -> Option<u64> {
    value(&read(&group.join("memory.oom_control"))?, "oom_kill")
}
