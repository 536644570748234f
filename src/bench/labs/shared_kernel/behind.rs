//! The process of the host's that a workload is, or that stands behind its kernel.

use std::fs;

use crate::bench::cases::processes::{of_guests, workloads};
use crate::bench::results::Wall;

/// The namespaces that a process can have of its own.
const NAMESPACES: [&str; 7] = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];

/// What the process may do on the host, in words.
pub(super) fn tell(wall: Wall, family: &[i32]) -> String {
    let of_guest = || family.iter().copied().max_by_key(|pid| of_guests(&[*pid]));
    let pid = match wall {
        Wall::Vm | Wall::Sandbox => of_guest(),
        Wall::Process | Wall::Container => workloads(family).max(),
    };
    let Some(pid) = pid else { return "no process of its own was found: an engine has it".into() };
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let link = |process: &str, name: &str| fs::read_link(format!("/proc/{process}/ns/{name}")).ok();
    let own = NAMESPACES.iter().filter(|name| {
        let theirs = link(&pid.to_string(), name);
        theirs.is_some() && theirs != link("self", name)
    });
    let own: Vec<&str> = own.copied().collect();
    let what = match wall {
        Wall::Vm => "the VMM, a process of this machine",
        Wall::Sandbox => "the process that is its kernel",
        Wall::Process | Wall::Container => {
            "nothing: that kernel is this machine's; the workload is a process of it"
        }
    };
    format!("{what}: {}", described(&status, &own))
}

/// From the text of a process's status.
fn described(status: &str, namespaces: &[&str]) -> String {
    let field = |name: &str| {
        let of = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned());
        status.lines().find_map(of).unwrap_or_default()
    };
    let user = field("Uid").split_whitespace().next().map_or("?".to_owned(), str::to_owned);
    let capabilities = u64::from_str_radix(&field("CapEff"), 16).unwrap_or(0).count_ones();
    let filter = if field("Seccomp") == "2" { "a filter on system calls" } else { "no filter" };
    let privileges =
        if field("NoNewPrivs") == "1" { "no new privileges" } else { "new privileges by exec" };
    let namespaces = match namespaces {
        [] => "this machine's namespaces".to_owned(),
        own => format!("its own {} namespaces", own.join(", ")),
    };
    format!("user {user}, {capabilities} capabilities, {filter}, {privileges}, {namespaces}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_described_by_what_holds_it() {
        let status = "Name:\tx\nUid:\t1000\t1000\t1000\t1000\nCapEff:\t0000000000000003\nNoNewPrivs:\t1\nSeccomp:\t2\n";
        assert_eq!(
            described(status, &["mnt", "pid"]),
            "user 1000, 2 capabilities, a filter on system calls, no new privileges, its own mnt, pid namespaces"
        );
        assert_eq!(
            described("", &[]),
            "user ?, 0 capabilities, no filter, new privileges by exec, this machine's namespaces"
        );
    }
}
