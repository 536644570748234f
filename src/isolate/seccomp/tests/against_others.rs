//! The list beside what others know of system calls.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::*;

/// A file that a Debian package brings; says so where it is not installed.
fn file_of(package: &str, path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok();
    if text.is_none() {
        skipped(&format!("{path} is not there (Debian: {package})"));
    }
    text
}

#[test]
fn numbers_are_those_of_the_kernels_header() {
    let path = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h";
    let Some(header) = file_of("linux-libc-dev", path) else { return };
    let known: Vec<(&str, u32)> = header
        .lines()
        .filter_map(|line| line.strip_prefix("#define __NR_")?.split_once(' '))
        .filter_map(|(name, number)| Some((name, number.parse().ok()?)))
        // Newer headers know calls that are newer than the list.
        .filter(|&(_, number)| number <= 466)
        .collect();
    assert!(known.len() > 350);
    for (name, known) in known {
        assert_eq!(number(name), known, "{name}");
    }
}

/// Whether all of a rule's conditions on capabilities and architectures hold here.
fn applies(rule: &Value) -> bool {
    let lists = |key: &str, of: &str| -> Option<Vec<String>> {
        let list = rule.get(key)?.get(of)?.as_array()?;
        Some(list.iter().filter_map(|text| Some(text.as_str()?.to_owned())).collect())
    };
    let granted = |name: &String| Capabilities::DEFAULT.contains(name.parse().unwrap());
    lists("includes", "caps").is_none_or(|caps| caps.iter().all(granted))
        && !lists("excludes", "caps").is_some_and(|caps| caps.iter().any(granted))
        && lists("includes", "arches").is_none_or(|arches| arches.iter().any(|a| a == "amd64"))
        && !lists("excludes", "arches").is_some_and(|arches| arches.iter().any(|a| a == "amd64"))
}

/// The calls that a profile in docker's form allows, some only with some arguments.
fn allowed_by(profile: &Value) -> BTreeSet<&str> {
    profile["syscalls"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|rule| rule["action"] == "SCMP_ACT_ALLOW" && applies(rule))
        .flat_map(|rule| rule["names"].as_array().unwrap())
        .map(|name| name.as_str().unwrap())
        .collect()
}

/// What podman's profile and the list decide otherwise. docker's own, which is the measure, differs
/// in unshare alone.
#[test]
fn differences_to_podmans_profile_are_known() {
    let path = "/usr/share/containers/seccomp.json";
    let Some(text) = file_of("golang-github-containers-common", path) else { return };
    let profile: Value = serde_json::from_str(&text).unwrap();
    let theirs = allowed_by(&profile);
    let verdicts = Verdicts::of(Capabilities::DEFAULT).by_number;
    let ours: BTreeSet<&str> = NAMES
        .iter()
        .filter(|(number, _)| verdicts[usize::from(*number)] >= Verdict::Conditional)
        .map(|&(_, name)| name)
        .collect();
    let listed = |name: &&&str| NAMES.iter().any(|(_, known)| known == *name);
    let more: Vec<_> = theirs.difference(&ours).filter(listed).copied().collect();
    let less: Vec<_> = ours.difference(&theirs).copied().collect();
    // Another version of the package may have come closer, but not gone further away.
    let more: Vec<_> = more.iter().filter(|name| !ALLOWED_BY_PODMAN.contains(name)).collect();
    assert!(more.is_empty(), "podman allows {more:?}");
    let known = |name: &&&str| NEWER.contains(name) || REFUSED_BY_PODMAN.contains(name);
    let less: Vec<_> = less.iter().filter(|name| !known(name)).collect();
    assert!(less.is_empty(), "podman refuses {less:?}");
}

/// Namespaces and mounts for containers in containers, keys, and what docker allows with a capability.
const ALLOWED_BY_PODMAN: &[&str] = &[
    "clone3",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "get_mempolicy",
    "keyctl",
    "mbind",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "pidfd_getfd",
    "pivot_root",
    "reboot",
    "set_mempolicy",
    "setns",
    "syslog",
    "umount2",
];

/// Allowed by docker.
const REFUSED_BY_PODMAN: &[&str] = &["io_pgetevents", "vmsplice"];

/// Unknown when the podman of Debian 12 was made.
const NEWER: &[&str] = &[
    "cachestat",
    "fchmodat2",
    "futex_requeue",
    "futex_wait",
    "futex_waitv",
    "futex_wake",
    "getxattrat",
    "listmount",
    "listxattrat",
    "map_shadow_stack",
    "mseal",
    "removexattrat",
    "setxattrat",
    "statmount",
    "uretprobe",
];
