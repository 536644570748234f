//! Memory that the host's kernel has for an instance, as the instance's control groups count it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::host::{Hierarchies, own_group};

/// What version 2 counts apart from the memory of processes and of files.
const PARTS: [&str; 6] = ["kernel_stack", "pagetables", "sec_pagetables", "percpu", "sock", "slab"];

/// In bytes, of all groups that these processes are in and this one is not. `None` where they have no such
/// group: what the kernel has for them can't be told from what it has for others.
pub(super) fn of(pids: &[i32]) -> Option<u64> {
    let hierarchies = Hierarchies::find();
    let own = groups_of(&hierarchies, "self");
    let apart = |group: &PathBuf| !own.iter().any(|own| own.starts_with(group));
    let all = pids.iter().flat_map(|pid| groups_of(&hierarchies, &pid.to_string()));
    let counted: Vec<u64> =
        topmost(&all.filter(apart).collect()).into_iter().filter_map(counted_in).collect();
    (!counted.is_empty()).then(|| counted.iter().sum())
}

/// Those that are below no other: a group counts what is in those below it.
fn topmost(groups: &BTreeSet<PathBuf>) -> Vec<&Path> {
    let below_another =
        |group: &&Path| groups.iter().any(|other| other != group && group.starts_with(other));
    groups.iter().map(PathBuf::as_path).filter(|group| !below_another(group)).collect()
}

/// Where a process's memory is counted.
fn groups_of(hierarchies: &Hierarchies, process: &str) -> Vec<PathBuf> {
    let text = fs::read(format!("/proc/{process}/cgroup")).unwrap_or_default();
    let has_memory = |names: &BTreeSet<String>| names.contains("memory");
    let legacy = hierarchies.legacy.iter().find(|legacy| has_memory(&legacy.controllers));
    let (mount, controller) = match (legacy, &hierarchies.unified) {
        (Some(legacy), _) => (&legacy.mount, Some("memory")),
        (None, Some(unified)) => (unified, None),
        (None, None) => return Vec::new(),
    };
    let group = own_group(&text, controller);
    group.and_then(|group| mount.lineage(&group).pop()).into_iter().collect()
}

fn counted_in(group: &Path) -> Option<u64> {
    if let Ok(text) = fs::read_to_string(group.join("memory.kmem.usage_in_bytes")) {
        return text.trim().parse().ok();
    }
    kernel_in(&fs::read_to_string(group.join("memory.stat")).ok()?)
}

/// From the text of memory.stat, version 2. Linux 5.18 has the sum; before, its parts.
fn kernel_in(stat: &str) -> Option<u64> {
    let value = |name: &str| -> Option<u64> {
        let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line?.trim().parse().ok()
    };
    value("kernel").or_else(|| {
        let parts: Vec<u64> = PARTS.iter().filter_map(|part| value(part)).collect();
        (!parts.is_empty()).then(|| parts.iter().sum())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_taken_else_its_parts() {
        let stat = "anon 1\nkernel 70\nkernel_stack 10\nslab 20\nslab_reclaimable 5\n";
        assert_eq!(kernel_in(stat), Some(70));
        assert_eq!(kernel_in(&stat.replace("kernel 70\n", "")), Some(30));
        assert_eq!(kernel_in("anon 1\n"), None);
    }

    #[test]
    fn what_is_in_a_counted_group_is_counted_there() {
        let groups = ["/g/a", "/g/a/b", "/g/ab"].map(PathBuf::from).into();
        assert_eq!(topmost(&groups), [Path::new("/g/a"), Path::new("/g/ab")]);
    }

    #[test]
    fn the_own_group_is_nobodys() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(of(&[own]), None);
    }
}
