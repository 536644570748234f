//! Whether a machine has room for more instances: it is not to starve.

use std::fs;

use nix::sys::resource::{Resource, getrlimit};

/// A fifth of the memory stays free, and no less than this.
const SPARE: u64 = 256 << 20;
const SPARE_PART: u64 = 5;

/// Descriptors that an instance takes here: its input, two outputs, and its end.
const DESCRIPTORS: u64 = 4;
/// Those of this process's own.
const OWN: u64 = 64;

/// What an instance is thought to need.
pub(in crate::bench) struct Room {
    each: u64,
}

impl Room {
    /// Before anything is known.
    pub(in crate::bench) fn new(each: u64) -> Self {
        Self { each }
    }

    /// What each of the last burst needed. Half as much is added: for what the kernel has for it.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bytes that were measured"
    )]
    pub(in crate::bench) fn needed(&mut self, each: f64) {
        self.each = (each.max(0.0) * 1.5) as u64;
    }

    /// Whether so many can be started; why not otherwise.
    pub(in crate::bench) fn is_there_for(&self, instances: u32) -> Result<(), String> {
        let meminfo = fs::read_to_string("/proc/meminfo")
            .map_err(|error| format!("what memory there is cannot be told: {error}"))?;
        self.fits_memory(&meminfo, instances)?;
        let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
        let wanted = u64::from(instances) * DESCRIPTORS + OWN;
        if wanted > descriptors {
            return Err(format!(
                "{wanted} descriptors are needed, and {descriptors} may be open (ulimit -n)"
            ));
        }
        Ok(())
    }

    /// From the text of /proc/meminfo.
    fn fits_memory(&self, meminfo: &str, instances: u32) -> Result<(), String> {
        let bytes = |name| field(meminfo, name).unwrap_or(0);
        let spare = (bytes("MemTotal:") / SPARE_PART).max(SPARE);
        let available = bytes(AVAILABLE).saturating_sub(spare);
        let wanted = self.each.saturating_mul(instances.into());
        if wanted > available {
            return Err(format!(
                "they may take {} MiB of memory, and {} MiB are to spare",
                wanted >> 20,
                available >> 20
            ));
        }
        Ok(())
    }
}

/// What can be taken without anything being swapped out, in bytes (proc_meminfo(5)). `None` where it is not told.
pub(in crate::bench) fn available_memory() -> Option<u64> {
    field(&fs::read_to_string("/proc/meminfo").ok()?, AVAILABLE)
}

const AVAILABLE: &str = "MemAvailable:";

/// A field of /proc/meminfo, in bytes.
fn field(meminfo: &str, name: &str) -> Option<u64> {
    let rest = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    Some(rest.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_left_for_others() {
        let meminfo = "MemTotal: 4194304 kB\nMemFree: 1 kB\nMemAvailable: 2097152 kB\n";
        // 4 GiB in all, of which a fifth stays: 2048 - 819 = 1228 MiB.
        let room = Room::new(100 << 20);
        assert_eq!(room.fits_memory(meminfo, 12), Ok(()));
        let reason = room.fits_memory(meminfo, 13).unwrap_err();
        assert_eq!(reason, "they may take 1300 MiB of memory, and 1228 MiB are to spare");
        assert!(Room::new(1).fits_memory("", 1).is_err());
    }

    #[test]
    fn what_was_measured_counts_with_a_half_more() {
        let mut room = Room::new(0);
        room.needed(100.0);
        assert_eq!(room.each, 150);
        assert!(room.is_there_for(u32::MAX).is_err());
    }
}
