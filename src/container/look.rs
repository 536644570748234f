//! A look at a container that is only half made: what of the host its PID 1 still has, and what is its own by
//! now. It is read from outside, because inside there may be no /proc yet.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use nix::unistd::Pid;

/// The namespaces that a process has.
const NAMESPACES: [&str; 8] = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"];
/// More mounts than these are only counted.
const SHOWN_MOUNTS: usize = 40;

/// What there is to be seen of a process, in lines.
///
/// # Errors
/// The process has ended.
pub(super) fn look(pid: Pid) -> io::Result<String> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let read = |name: &str| fs::read_to_string(process.join(name));
    let status = read("status")?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let mut text = String::new();
    let mut line = |what: &str, says: &str| {
        let _ = writeln!(text, "{what:14} {says}");
    };
    line("process", &format!("{pid} on this host, {} inside", inside(&field("NSpid"))));
    line("users inside", &users(&read("uid_map")?));
    line("it is user", &format!("{} on this host", first(&field("Uid"))));
    let (own, shared) = namespaces(&process)?;
    line("own", &list(&own));
    line("the host's", &list(&shared));
    line("capabilities", &capabilities(&field("CapEff"), &field("CapBnd")));
    line("system calls", if field("Seccomp") == "2" { "filtered" } else { "all" });
    line(
        "by exec",
        if field("NoNewPrivs") == "1" { "nothing is gained" } else { "privileges can be gained" },
    );
    mounts(&mut text, &read("mountinfo")?);
    Ok(text)
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

fn first(list: &str) -> &str {
    list.split(' ').next().unwrap_or_default()
}

/// Its number in the innermost namespace.
fn inside(numbers: &str) -> &str {
    numbers.rsplit(' ').next().unwrap_or_default()
}

fn users(map: &str) -> String {
    let ranges = map.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace();
        let (inside, outside, count) = (numbers.next()?, numbers.next()?, numbers.next()?);
        Some(format!("{count} from {inside} on, which are {outside} and on outside"))
    });
    let ranges: Vec<String> = ranges.collect();
    if ranges.is_empty() { "none: nobody is known yet".into() } else { ranges.join("; ") }
}

/// Those of its own, and those that it shares with this process.
fn namespaces(process: &std::path::Path) -> io::Result<(Vec<&'static str>, Vec<&'static str>)> {
    let (mut own, mut shared) = (Vec::new(), Vec::new());
    for name in NAMESPACES {
        let theirs = fs::metadata(process.join("ns").join(name))?.ino();
        let ours = fs::metadata(format!("/proc/self/ns/{name}"))?.ino();
        if theirs == ours { shared.push(name) } else { own.push(name) }
    }
    Ok((own, shared))
}

fn capabilities(effective: &str, bounding: &str) -> String {
    let count = |set: &str| u64::from_str_radix(set, 16).unwrap_or(0).count_ones();
    format!("{} for PID 1, at most {} for what it executes", count(effective), count(bounding))
}

fn mounts(text: &mut String, info: &str) {
    let all: Vec<_> = info.lines().filter_map(mounted).collect();
    let _ = writeln!(text, "{:14} {}", "mounts", all.len());
    for (kind, at, access) in all.iter().take(SHOWN_MOUNTS) {
        let _ = writeln!(text, "{:14} {kind} at {at}{access}", "");
    }
    if all.len() > SHOWN_MOUNTS {
        let _ = writeln!(text, "{:14} and {} more", "", all.len() - SHOWN_MOUNTS);
    }
}

/// What is mounted, where, and whether it can be written to (proc_pid_mountinfo(5)).
fn mounted(line: &str) -> Option<(&str, &str, &'static str)> {
    let (first, second) = line.split_once(" - ")?;
    let mut fields = first.split(' ').skip(4);
    let (at, options) = (fields.next()?, fields.next()?);
    let read_only = options.split(',').any(|option| option == "ro");
    Some((second.split(' ').next()?, at, if read_only { ", read-only" } else { "" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_as_the_kernel_writes_them() {
        let line = "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        assert_eq!(mounted(line), Some(("ext3", "/mnt2", "")));
        let line = "36 35 0:5 / /proc/sys ro,nosuid - proc proc rw";
        assert_eq!(mounted(line), Some(("proc", "/proc/sys", ", read-only")));
        assert_eq!(mounted("nonsense"), None);
    }

    #[test]
    fn maps_and_sets_are_put_into_words() {
        assert_eq!(
            users("         0     100000      65536\n"),
            "65536 from 0 on, which are 100000 and on outside"
        );
        assert_eq!(users(""), "none: nobody is known yet");
        assert_eq!(capabilities("0", "3"), "0 for PID 1, at most 2 for what it executes");
    }

    #[test]
    fn this_process_shares_all_with_itself() {
        let text = look(Pid::this()).unwrap();
        assert!(text.contains("own            none\n") && text.contains("mnt, pid"), "{text}");
    }
}
