//! The processes of an instance, whoever started them, and the memory that they have.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use nix::sys::prctl::set_child_subreaper;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, getpid};

use crate::bench::contender::Contender;
use crate::bench::results::Wall;

/// What the kernel calls the probe: its file's name.
pub(in crate::bench) const PROBE_NAME: &str = "duplex-probe";

/// Mappings that are smaller are no guest's memory.
const GUEST_MEMORY: u64 = 4 << 20;

/// The descendants of this process at some moment, to tell later ones from. While it lives, processes whose
/// parent ends become this process's children: a monitor that a runtime leaves behind stays in the family.
pub(in crate::bench) struct Census {
    before: BTreeSet<i32>,
}

impl Census {
    pub(in crate::bench) fn take() -> Result<Self, String> {
        set_child_subreaper(true)
            .map_err(|error| format!("orphans cannot be adopted (prctl): {error}"))?;
        Ok(Self { before: descendants().into_iter().collect() })
    }

    /// Those that have come since.
    pub(in crate::bench) fn newcomers(&self) -> Vec<i32> {
        descendants().into_iter().filter(|pid| !self.before.contains(pid)).collect()
    }
}

impl Drop for Census {
    fn drop(&mut self) {
        let _ = set_child_subreaper(false);
        // Adopted ones that have ended. The observer waits for its own, and does before this.
        for pid in self.newcomers() {
            let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
        }
    }
}

fn descendants() -> Vec<i32> {
    let names = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = names.filter_map(|name| name.file_name().to_str()?.parse::<i32>().ok());
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for pid in pids {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if let Some(parent) = parent(&stat) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut next = vec![getpid().as_raw()];
    while let Some(parent) = next.pop() {
        let own = children.remove(&parent).unwrap_or_default();
        found.extend(&own);
        next.extend(own);
    }
    found
}

/// From the text of a process's `stat`: its name may have spaces and parentheses.
fn parent(stat: &str) -> Option<i32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// The memory of these processes in bytes, what several share divided among them: their proportional set
/// size, proc_pid_smaps_rollup(5).
///
/// # Errors
/// This user may not look at one of them: a sum without it would be too little.
pub(in crate::bench) fn proportional(pids: &[i32]) -> Result<u64, String> {
    let of = |pid: &i32| match fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
        Ok(rollup) => Ok(kilobytes(&rollup, "Pss") << 10),
        Err(error) if is_refused(&error) => {
            Err(format!("the memory of its process {pid} cannot be told: {error}; as root it can"))
        }
        // It has ended.
        Err(_) => Ok(0),
    };
    pids.iter().map(of).sum()
}

fn is_refused(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::PermissionDenied
}

/// Of these processes those that are the workload, by the name that the kernel has of the probe.
pub(in crate::bench) fn workloads(pids: &[i32]) -> impl Iterator<Item = i32> {
    let is_probe = |pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == PROBE_NAME)
    };
    pids.iter().copied().filter(is_probe)
}

/// Whether the workload is among these processes of a contender's, behind whose wall it is a process of this machine:
/// an engine's client is not the engine, which has the workload.
///
/// # Errors
/// It is not.
pub(in crate::bench) fn is_seen(contender: &dyn Contender, family: &[i32]) -> Result<(), String> {
    let is_process = matches!(contender.described().wall, Wall::Process | Wall::Container);
    match is_process && workloads(family).next().is_none() {
        true => {
            Err("its workload is a process of an engine's, whose memory this does not see".into())
        }
        false => Ok(()),
    }
}

/// What is in memory of large writable mappings: a VMM has its guest's there.
pub(in crate::bench) fn of_guests(pids: &[i32]) -> u64 {
    let of = |pid: &i32| {
        touched_in(&fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default())
    };
    pids.iter().map(of).sum()
}

/// From the text of smaps, in bytes.
fn touched_in(smaps: &str) -> u64 {
    let mut touched = 0;
    let (mut writable, mut large) = (false, false);
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if !first.ends_with(':') {
            writable = words.next().is_some_and(|access| access.starts_with("rw"));
            large = false;
        } else if first == "Size:" {
            large = kilobytes(line, "Size") << 10 >= GUEST_MEMORY;
        } else if first == "Rss:" && writable && large {
            touched += kilobytes(line, "Rss") << 10;
        }
    }
    touched
}

/// The number behind a name.
fn kilobytes(text: &str, name: &str) -> u64 {
    let of = |line: &str| {
        line.strip_prefix(name)?.strip_prefix(':')?.split_whitespace().next()?.parse().ok()
    };
    text.lines().find_map(of).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn parents_are_read_behind_any_name() {
        assert_eq!(parent("12 (a) b (c)) S 7 12 12 0"), Some(7));
        assert_eq!(parent("12 (a"), None);
        assert_eq!(parent(""), None);
    }

    #[test]
    fn large_writable_mappings_are_a_guests() {
        let mapping = |access: &str, size: u64, rss: u64| {
            format!("7f00-7f01 {access} 0 0:0 0 [x]\nSize: {size} kB\nRss: {rss} kB\nPss: 1 kB\n")
        };
        let text = mapping("rw-p", 262_144, 100)
            + &mapping("r--p", 262_144, 10)
            + &mapping("rw-s", 8192, 7)
            + &mapping("rw-p", 512, 5);
        assert_eq!(touched_in(&text), 107 << 10);
        assert_eq!(touched_in("nonsense\n\n"), 0);
    }

    #[test]
    fn a_family_is_seen_with_orphans() {
        let census = Census::take().unwrap();
        // The shell in between ends at once.
        let mut child = Command::new("sh")
            .args(["-c", "(sleep 1000 & echo $!)"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(
            &mut std::io::BufReader::new(child.stdout.take().unwrap()),
            &mut line,
        )
        .unwrap();
        child.wait().unwrap();
        let orphan: i32 = line.trim().parse().unwrap();
        let newcomers = census.newcomers();
        nix::sys::signal::kill(Pid::from_raw(orphan), nix::sys::signal::Signal::SIGKILL).unwrap();
        assert!(newcomers.contains(&orphan), "{newcomers:?}");
        assert!(proportional(&[getpid().as_raw()]).unwrap() > 100 << 10);
        waitpid(Pid::from_raw(orphan), None).unwrap();
    }
}
