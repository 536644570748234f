//! Whether the guest's kernel had to kill for memory.

use std::fs;

/// How many processes it has killed because memory ran out. Nothing but the command and what it
/// started is big enough to be chosen: init is spared, as PID 1.
pub(super) fn killed() -> u64 {
    fs::read_to_string("/proc/vmstat").map_or(0, |text| count(&text))
}

fn count(vmstat: &str) -> u64 {
    let lines = vmstat.lines().filter_map(|line| line.split_once(' '));
    lines
        .filter(|(name, _)| *name == "oom_kill")
        .find_map(|(_, number)| number.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_counter() {
        assert_eq!(count("pgfault 12\noom_kill 3\noom_kill_x 9\n"), 3);
        assert_eq!(count(""), 0);
        // This kernel has it, too.
        assert!(fs::read_to_string("/proc/vmstat").unwrap().contains("\noom_kill "));
    }
}
