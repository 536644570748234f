//! The files of version 2, Linux, Documentation/admin-guide/cgroup-v2.rst.

use std::path::Path;

use super::controller::Controller;
use super::files::{number, read, value};
use super::limits::{Setting, Wanted};
use super::usage::{Io, Pressure, Pressures, Usage};
use crate::workload::{Bound, CpuQuota, CpuShares};

/// Which controllers a group's children have.
pub(super) const SUBTREE: &str = "cgroup.subtree_control";

/// The values for a controller.
pub(super) fn settings(wanted: &Wanted<'_>, controller: Controller) -> Vec<Setting> {
    let limits = wanted.limits;
    match controller {
        Controller::Cpu => {
            let weight = limits.cpu_shares.map(|shares| {
                Setting::new(
                    "cpu.weight",
                    weight(shares),
                    "--cpu-shares: the share when CPUs are scarce",
                )
            });
            let most = limits.cpus.map(|cpus| {
                let value = format!("{} {}", cpus.quota(), CpuQuota::PERIOD);
                Setting::new("cpu.max", value, "--cpus: CPU time in each period")
            });
            weight.into_iter().chain(most).collect()
        }
        Controller::Cpuset => limits
            .cpuset_cpus
            .iter()
            .map(|cpus| Setting::new("cpuset.cpus", cpus, "--cpuset-cpus: where it runs"))
            .collect(),
        Controller::Memory => memory(wanted),
        Controller::Io => wanted
            .throttles
            .iter()
            .map(|device| {
                let names = ["rbps", "wbps", "riops", "wiops"].into_iter().zip(device.rates);
                let rates = names.filter_map(|(name, rate)| Some(format!(" {name}={}", rate?)));
                let value =
                    format!("{}:{}{}", device.major, device.minor, rates.collect::<String>());
                Setting::new("io.max", value, "the rates of a block device")
            })
            .collect(),
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
                let file = format!("hugetlb.{}.max", pages.size());
                Setting::new(file, pages.limit(), "huge pages of one size")
            })
            .collect(),
        Controller::Devices | Controller::Cpuacct | Controller::Freezer => Vec::new(),
    }
}

fn memory(wanted: &Wanted<'_>) -> Vec<Setting> {
    const SWAP: &str = "memory.swap.max";
    let limits = wanted.limits;
    let mut settings = Vec::new();
    if let Some(reserved) = limits.memory_reservation {
        let reason = "--memory-reservation: what it keeps when memory is scarce";
        settings.push(Setting::new("memory.low", reserved.bytes(), reason));
    }
    let Some(memory) = limits.memory.map(u64::from) else { return settings };
    settings.push(Setting::new("memory.max", memory, "--memory: who needs more is killed"));
    let reason = "--memory-swap less --memory: swap space alone";
    settings.push(match limits.memory_swap {
        Some(Bound::Unlimited) => Setting::new(SWAP, "max", reason),
        Some(Bound::AtMost(both)) => Setting::new(SWAP, both.saturating_sub(memory), reason),
        // A kernel that does not count swap space can't limit it, and docker's default is no promise.
        None => Setting::new(SWAP, memory, "as much swap space as memory, as docker").where_known(),
    });
    settings
}

/// The weight that stands to its default, 100, as the share does to its own, 1024: so the scheduler
/// converts it back. Weights end at 10000, which are 102400 shares.
pub(super) fn weight(shares: CpuShares) -> u64 {
    ((shares.shares() * 100 + 512) / 1024).clamp(1, 10_000)
}

/// Adds what a group has counted: whatever files it has, for its controllers are enabled from above.
pub(super) fn add_usage(group: &Path, usage: &mut Usage) {
    let text = |name: &str| read(&group.join(name));
    if let Some(text) = text("cpu.stat") {
        usage.cpu.total_us = value(&text, "usage_usec");
        usage.cpu.user_us = value(&text, "user_usec");
        usage.cpu.system_us = value(&text, "system_usec");
        usage.cpu.periods = value(&text, "nr_periods");
        usage.cpu.throttled_periods = value(&text, "nr_throttled");
        usage.cpu.throttled_us = value(&text, "throttled_usec");
    }
    usage.memory.current = number(&group.join("memory.current"));
    usage.memory.peak = number(&group.join("memory.peak"));
    usage.memory.limit = number(&group.join("memory.max"));
    usage.memory.oom_kills = oom_kills(group);
    usage.tasks.current = number(&group.join("pids.current"));
    usage.tasks.limit = number(&group.join("pids.max"));
    usage.io = text("io.stat").map(|text| io(&text));
    let pressure = |name: &str| text(name).and_then(|text| pressure(&text));
    usage.pressure = Pressures {
        cpu: pressure("cpu.pressure"),
        memory: pressure("memory.pressure"),
        io: pressure("io.pressure"),
    };
}

/// How many processes were killed for want of memory.
pub(super) fn oom_kills(group: &Path) -> Option<u64> {
    value(&read(&group.join("memory.events"))?, "oom_kill")
}

/// All devices together.
fn io(text: &str) -> Io {
    let sum = |name: &str| {
        text.split_whitespace()
            .filter_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse::<u64>().ok())
            .fold(0, u64::saturating_add)
    };
    Io {
        read_bytes: sum("rbytes"),
        written_bytes: sum("wbytes"),
        reads: sum("rios"),
        writes: sum("wios"),
    }
}

/// The shares of time in which some task waited, Documentation/accounting/psi.rst.
fn pressure(text: &str) -> Option<Pressure> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let word = |name: &str| {
        some.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    };
    Some(Pressure {
        last_10s: word("avg10")?.parse().ok()?,
        last_60s: word("avg60")?.parse().ok()?,
        total_us: word("total")?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn weight_of(shares: u64) -> u64 {
        weight(shares.try_into().unwrap())
    }

    #[test]
    fn weights_stand_to_each_other_as_shares_do() {
        assert_eq!((weight_of(1024), weight_of(2048), weight_of(512)), (100, 200, 50));
        assert_eq!((weight_of(2), weight_of(262_144)), (1, 10_000));
    }

    #[test]
    fn pressure_and_io_are_read() {
        let text = "some avg10=1.50 avg60=0.25 avg300=0.00 total=1234\nfull avg10=0.00 total=9\n";
        let read = pressure(text).unwrap();
        assert!((read.last_10s - 1.5).abs() < 1e-9 && (read.last_60s - 0.25).abs() < 1e-9);
        assert_eq!((read.total_us, pressure("full avg10=1")), (1234, None));
        let text = "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0\n8:16 rbytes=5 wbytes=x rios=\n";
        assert_eq!(io(text), Io { read_bytes: 15, written_bytes: 20, reads: 1, writes: 2 });
    }

    proptest! {
        #[test]
        fn a_larger_share_is_no_smaller_weight(shares in 2_u64..262_144) {
            prop_assert!(weight_of(shares) <= weight_of(shares + 1));
            prop_assert!((1..=10_000).contains(&weight_of(shares)));
        }

        #[test]
        fn no_text_makes_a_reader_panic(text in ".*|some avg10=.* avg60=.* total=.*") {
            let _ = (io(&text), pressure(&text));
        }
    }
}
