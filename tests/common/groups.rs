//! Control groups of instances, as files tell of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The groups of an instance, wherever they are: they are called like it, with random digits after that.
pub(crate) fn groups(name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let below = |parent: &Path| {
        let directories = fs::read_dir(parent).into_iter().flatten().flatten();
        directories.map(|entry| entry.path()).filter(|path| path.is_dir()).collect::<Vec<_>>()
    };
    let root = Path::new("/sys/fs/cgroup");
    for hierarchy in below(root).into_iter().chain([root.to_owned()]) {
        let called = |path: &PathBuf| {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            file.rsplit_once('-').is_some_and(|(begin, _)| begin == name)
        };
        found.extend(below(&hierarchy.join("duplex")).into_iter().filter(called));
    }
    found
}

/// The CPU time that they have used; version 2 counts it in any group.
pub(crate) fn cpu_time(groups: &[PathBuf]) -> Duration {
    let stats = groups.iter().filter_map(|group| fs::read_to_string(group.join("cpu.stat")).ok());
    let used =
        |stat: &str| stat.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse().ok());
    let unified = stats.filter_map(|stat| used(&stat)).map(Duration::from_micros).max();
    let legacy = || {
        let nanoseconds = |group: &PathBuf| {
            let text = fs::read_to_string(group.join("cpuacct.usage")).ok()?;
            text.trim().parse().ok().map(Duration::from_nanos)
        };
        groups.iter().find_map(nanoseconds)
    };
    unified.or_else(legacy).unwrap()
}

/// Which share of one CPU they use, for as long as `pass` takes.
pub(crate) fn cpu_share(groups: &[PathBuf], pass: impl FnOnce()) -> f64 {
    let (start, before) = (Instant::now(), cpu_time(groups));
    pass();
    (cpu_time(groups) - before).as_secs_f64() / start.elapsed().as_secs_f64()
}
