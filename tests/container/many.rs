//! Many containers: one after another, at once, and such that duplex does not live to see the end of.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::common::containers::{among, command, end_of, has_containers};
use crate::common::stepping::killed_at;
use crate::common::{empty_directory, say, soak};

const GROUPS: &str = "/sys/fs/cgroup";

/// The instances of these tests have a state directory of their own.
fn state() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| empty_directory("many"))
}

fn here(mut command: Command) -> Command {
    command.env("XDG_RUNTIME_DIR", state());
    command
}

/// What it says; it must succeed.
fn said(command: Command) -> String {
    let output = end_of(here(command));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What is in a state directory in which nothing runs.
const EMPTY: [&str; 1] = ["lock"];

/// What these tests could leave behind, as far as it can be told from what others do: places in the state
/// directory, control groups of names that begin so, mounts, loop devices.
fn left(names: &str) -> Vec<String> {
    let entries = |path: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let mut left: Vec<String> = entries(&state().join("duplex"))
        .into_iter()
        .filter(|path| !EMPTY.iter().any(|name| path.ends_with(name)))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(names)))
        .map(|path| path.display().to_string())
        .collect();
    let mut directories = vec![PathBuf::from(GROUPS)];
    for _depth in 0..3 {
        directories = directories.iter().flat_map(|path| entries(path)).collect();
        directories.retain(|path| path.is_dir() && !path.is_symlink());
        let ours = directories.iter().filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(names))
        });
        left.extend(ours.map(|path| path.display().to_string()));
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    left.extend(mounts.lines().filter(|line| line.contains(names)).map(str::to_owned));
    let loops = entries(Path::new("/sys/block")).into_iter().filter_map(|device| {
        fs::read_to_string(device.join("loop/backing_file"))
            .ok()
            .filter(|file| file.contains(names))
    });
    left.extend(loops);
    left
}

/// How many keys root has, proc_key_users(5).
fn keys() -> Option<u32> {
    let text = fs::read_to_string("/proc/key-users").ok()?;
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("0:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[test]
fn one_after_another_they_leave_nothing() {
    if !has_containers() {
        return;
    }
    let cycles = if soak() { 1000 } else { 12 };
    let keys_before = keys();
    let mut starts = Vec::new();
    for cycle in 0..cycles {
        let name = format!("cycle-{cycle}");
        let begin = Instant::now();
        let options = ["--detach", "--rm", "--name", &name];
        assert_eq!(said(command(&options, &["sleep", "1000"])), format!("{name}\n"));
        starts.push(begin.elapsed());
        assert_eq!(said(among(&["stop", &name])), format!("{name}\n"));
    }
    assert_eq!(left("cycle-"), Vec::<String>::new());
    let tenth = cycles / 10;
    let median = |times: &[Duration]| {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        sorted[sorted.len() / 2]
    };
    if soak() {
        let (first, last) = (median(&starts[..tenth]), median(&starts[cycles - tenth..]));
        say(&format!("starts of {cycles} cycles: {first:?} at first, {last:?} at last"));
        assert!(last < 2 * first, "{first:?} at first, {last:?} at last");
        // The kernel forgets keys in its own time, but each start takes one.
        if let (Some(before), Some(after)) = (keys_before, keys()) {
            assert!(after < before + u32::try_from(tenth).unwrap(), "{before} keys, then {after}");
        }
    }
}

/// A control group for all of a test, with limits of its own, in each hierarchy that has them.
struct Parent {
    name: String,
    directories: Vec<PathBuf>,
}

impl Parent {
    /// `None` where this user may make none.
    fn new(name: &str, memory: u64, tasks: u64) -> Option<Parent> {
        let unified = Path::new(GROUPS).join("cgroup.controllers").exists();
        let files = [("memory", "memory.limit_in_bytes", memory), ("pids", "pids.max", tasks)];
        let mut parent = Parent { name: name.to_owned(), directories: Vec::new() };
        for (controller, legacy, limit) in files {
            let (hierarchy, file) = if unified {
                // As duplex itself does: others keep what they have.
                let passed_down = Path::new(GROUPS).join("cgroup.subtree_control");
                fs::write(passed_down, format!("+{controller}")).ok()?;
                (PathBuf::from(GROUPS), format!("{controller}.max"))
            } else {
                (Path::new(GROUPS).join(controller), legacy.to_owned())
            };
            let directory = hierarchy.join(name);
            if !directory.exists() {
                fs::create_dir(&directory).ok()?;
            }
            if !parent.directories.contains(&directory) {
                parent.directories.push(directory.clone());
            }
            fs::write(directory.join(file), limit.to_string()).ok()?;
        }
        Some(parent)
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        // duplex made one in the hierarchy of version 2 beside them.
        let unified = Path::new(GROUPS).join("unified").join(&self.name);
        for directory in self.directories.iter().chain([&unified]) {
            let _ = fs::remove_dir(directory);
        }
    }
}

#[test]
fn at_once_they_all_answer() {
    if !has_containers() {
        return;
    }
    let count: u64 = if soak() { 500 } else { 12 };
    let Some(parent) = Parent::new("duplex-test-many", 8 << 30, 8 * count) else {
        return say("SKIPPED: no control group with limits of its own can be made here");
    };
    let names: Vec<String> = (0..count).map(|number| format!("many-{number}")).collect();
    let begin = Instant::now();
    for name in &names {
        let options = ["--detach", "--rm", "--cgroup-parent", &parent.name, "--name", name];
        said(command(&options, &["sleep", "10000"]));
    }
    say(&format!("{count} containers started one by one in {:?}", begin.elapsed()));
    let begin = Instant::now();
    for name in &names {
        assert_eq!(said(among(&["exec", name, "hostname"])), format!("{name}\n"));
    }
    say(&format!("each answered: {:?}", begin.elapsed()));
    let tasks = parent.directories.last().unwrap().join("pids.current");
    let tasks: u64 = fs::read_to_string(tasks).unwrap().trim().parse().unwrap();
    assert!(tasks >= 2 * count, "{tasks} tasks");
    let listed = said(among(&["ps", "--quiet"]));
    assert_eq!(listed.lines().filter(|line| line.starts_with("many-")).count(), names.len());
    let all: Vec<&str> = ["stop"].into_iter().chain(names.iter().map(String::as_str)).collect();
    assert_eq!(said(among(&all)).lines().count(), names.len());
    assert_eq!(left("many-"), Vec::<String>::new());
    drop(parent);
    assert_eq!(left("duplex-test-many"), Vec::<String>::new());
}

/// Kills what `make` makes at twenty points, from its first system call to its last, and each time sees to
/// it that after the next command nothing is left. `name` is given a number.
fn killed_throughout(names: &str, make: impl Fn(&str) -> Command) {
    let points = if soak() { 200 } else { 20 };
    let quiet = |mut command: Command| {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let whole = format!("{names}whole");
    let calls = killed_at(&mut quiet(make(&whole)), usize::MAX).unwrap();
    for point in 0..points {
        let name = format!("{names}{point}");
        killed_at(&mut quiet(make(&name)), 1 + point * calls / points);
        // It may be there still, or may be no more: there is no other state.
        end_of(here(among(&["rm", "--force", &name])));
        said(among(&["ps"]));
        assert_eq!(
            left(names),
            Vec::<String>::new(),
            "killed at call {point} * {calls} / {points}"
        );
    }
}

#[test]
fn a_run_that_is_killed_at_any_call_leaves_nothing() {
    if has_containers() {
        killed_throughout("cut-", |name| here(command(&["--name", name], &["echo", "hello"])));
    }
}

#[test]
fn a_stop_that_is_killed_at_any_call_leaves_nothing() {
    if has_containers() {
        killed_throughout("halt-", |name| {
            let options = ["--detach", "--rm", "--name", name];
            said(command(&options, &["sleep", "1000"]));
            here(among(&["stop", name]))
        });
    }
}
