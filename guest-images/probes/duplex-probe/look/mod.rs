//! What can be seen and reached from here, found out by trying. Nothing is changed: system calls are made
//! with arguments that no kernel takes, files and devices are asked whether they could be opened.

mod calls;
mod files;
mod filter;

use std::ffi::CStr;
use std::fs;

use crate::json::{self, Object};
use crate::system::Failure;

/// Prints all of it.
pub(crate) fn look() -> Result<(), Failure> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let (release, version) = kernel();
    let processes = processes();
    let mut line = Object::new()
        .text("kernel_release", &release)
        .text("kernel_version", &version)
        .text("user", field(&status, "Uid"))
        .text("user_map", &read("/proc/self/uid_map"))
        .text("capabilities", field(&status, "CapEff"))
        .text("no_new_privileges", field(&status, "NoNewPrivs"))
        .text("seccomp", field(&status, "Seccomp"))
        .plain("processes", processes.len())
        .text("init", &read("/proc/1/comm"))
        .texts("interfaces", &interfaces())
        .plain("mounts", read("/proc/self/mountinfo").lines().count())
        .texts("devices", &files::devices())
        .text("memory", field(&read("/proc/meminfo"), "MemTotal"))
        .plain("processors", std::thread::available_parallelism().map_or(0, |number| number.get()));
    for (name, tree) in [("proc_sys", "/proc/sys"), ("sys", "/sys")] {
        let found = files::writable(tree.as_ref());
        line = line.plain(&format!("{name}_files"), found.seen);
        line = line.plain(&format!("{name}_writable"), found.writable);
    }
    let has_filter = !matches!(field(&status, "Seccomp"), "" | "0");
    let passed = if has_filter { filter::passed()? } else { Some(filter::NUMBERS) };
    line = match passed {
        Some(passed) => line.plain("filter_passes", passed),
        None => line.plain("filter_passes", "null"),
    };
    line = line.plain("filter_numbers", filter::NUMBERS).plain("calls", calls::tried()?);
    json::say(&line.finish())
}

/// As uname(2) has it: its release, and its build.
fn kernel() -> (String, String) {
    // SAFETY: zeroes are a value of it, and the kernel writes strings that end with a zero.
    unsafe {
        let mut name: libc::utsname = std::mem::zeroed();
        libc::uname(&raw mut name);
        let [release, version] = [&name.release, &name.version]
            .map(|text| CStr::from_ptr(text.as_ptr()).to_string_lossy().into_owned());
        (release, version)
    }
}

/// A file as far as it can be read, without the end of its last line.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim_end().to_owned()
}

/// What follows a name and a colon.
fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let of = |line: &'a str| line.strip_prefix(name)?.strip_prefix(':');
    text.lines().find_map(of).map_or("", str::trim)
}

/// All processes that /proc shows, but this one.
fn processes() -> Vec<u32> {
    let names = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = names.filter_map(|name| name.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != std::process::id()).collect()
}

fn interfaces() -> Vec<String> {
    let list = read("/proc/self/net/dev");
    let names = list.lines().skip(2).filter_map(|line| line.split_once(':'));
    names.map(|(name, _)| name.trim().to_owned()).collect()
}
