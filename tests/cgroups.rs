//! Control groups with real processes: version 1 and the mixture of both as this host has them, and
//! version 2 in the testbed, where this program runs once more.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/mod.rs"]
mod common;

use std::fs::{self, File};
use std::mem;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use duplex::host::Hierarchies;
use duplex::isolate::cgroups::{Cgroups, Controller, DeviceRule, Error, Group, Purpose, Version};
use duplex::isolate::{Process, Program};
use duplex::workload::{Bound, DeviceRate, Limits};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::sys::wait::WaitStatus;

use common::{process, say, testbed, text};

/// Everything here may happen on a slow and busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Groups of a test's own, which are gone when it ends.
struct Ours(Cgroups);

impl Drop for Ours {
    fn drop(&mut self) {
        let _ = self.0.sweep(|_| false);
        self.0.remove_parent();
    }
}

impl Ours {
    fn plan(&self, limits: &Limits, devices: Option<&[DeviceRule]>) -> Result<Group, Error> {
        let purpose =
            Purpose { limits, default_tasks: Some(64), besides: Purpose::COUNTED, devices };
        self.0.plan("web", &purpose)?.create()
    }
}

/// Runs a test with the hierarchies of this host, and where both versions are there, also with those
/// of version 1 alone.
fn with_groups(controllers: &[&str], test: impl Fn(&Ours)) {
    let found = Hierarchies::find();
    let legacy = Hierarchies { unified: None, ..found.clone() };
    let mixed = found.unified.is_some() && !found.legacy.is_empty();
    for (at, hierarchies) in [found].into_iter().chain(mixed.then_some(legacy)).enumerate() {
        let mut known: Vec<String> =
            hierarchies.legacy.iter().flat_map(|legacy| legacy.controllers.clone()).collect();
        known.extend(hierarchies.unified.iter().flat_map(|mount| mount.controllers()));
        let there = |name: &&&str| known.contains(&(**name).to_owned());
        let missing: Vec<_> = controllers.iter().filter(|name| !there(name)).collect();
        if !missing.is_empty() {
            say(&format!("SKIPPED: no controllers {missing:?}"));
            continue;
        }
        // Threads are tests.
        let thread = nix::unistd::gettid();
        let name = format!("duplex-test-{thread}-{at}");
        let ours = Ours(Cgroups::at(hierarchies, &name, Path::new("/proc/self/cgroup")).unwrap());
        let none = Limits { pids: Some(Bound::AtMost(64)), ..Limits::default() };
        match ours.plan(&none, None) {
            Ok(group) => group.remove().unwrap(),
            Err(error) => {
                say(&format!("SKIPPED: {error}"));
                continue;
            }
        }
        test(&ours);
        let left = ours.0.sweep(|_| false).unwrap();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// Starts a script in a group; its output goes to the returned file.
fn start(group: &Group, script: &str) -> (Process, File) {
    let output = tempfile::tempfile().unwrap();
    let null = || File::options().read(true).write(true).open("/dev/null").unwrap().into();
    let copy = || output.try_clone().unwrap().into();
    let program = Program::new("/bin/sh", ["sh", "-c", script]).unwrap();
    let program = program.env([("PATH", "/usr/bin:/bin")]).unwrap();
    let program = program.descriptors(vec![null(), copy(), copy()]).dies_with_parent();
    (program.in_group(group).unwrap().spawn().unwrap(), output)
}

fn run(group: &Group, script: &str) -> (WaitStatus, String) {
    let (process, mut output) = start(group, script);
    let status = process.wait().unwrap();
    use std::io::{Read, Seek};
    let mut said = String::new();
    output.rewind().unwrap();
    output.read_to_string(&mut said).unwrap();
    (status, said)
}

fn wait(what: &str, mut reached: impl FnMut() -> bool) {
    let start = Instant::now();
    while !reached() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn value(group: &Group, controller: Controller, file: &str) -> String {
    let has = |member: &&duplex::isolate::cgroups::Member| member.controllers.contains(&controller);
    let member = group.members().iter().find(has).unwrap();
    fs::read_to_string(member.path.join(file)).unwrap().trim().to_owned()
}

fn version(group: &Group, controller: Controller) -> Version {
    let has = |member: &&duplex::isolate::cgroups::Member| member.controllers.contains(&controller);
    group.members().iter().find(has).unwrap().version
}

#[test]
fn who_needs_more_memory_is_killed_and_counted() {
    with_groups(&["memory"], |ours| {
        let limits = Limits { memory: Some("32M".parse().unwrap()), ..Limits::default() };
        let group = ours.plan(&limits, None).unwrap();
        assert_eq!(group.usage().memory.limit, Some(32 << 20));
        // It wants 64 MiB, no more.
        let (status, said) = run(&group, "head -c 64M /dev/zero | tail -c 64M >/dev/null");
        let WaitStatus::Exited(_, 137) = status else { panic!("{status:?} {said}") };
        let usage = group.usage();
        assert_eq!((usage.memory.oom_kills, group.oom_kills()), (Some(1), Some(1)));
        assert!(usage.memory.peak.is_none_or(|peak| peak <= 32 << 20 && peak > 16 << 20));
        group.remove().unwrap();
    });
}

#[test]
fn forks_fail_at_the_limit_of_tasks() {
    with_groups(&["pids"], |ours| {
        let limits = Limits { pids: Some(Bound::AtMost(5)), ..Limits::default() };
        let group = ours.plan(&limits, None).unwrap();
        // Ten at most, each of which ends by itself.
        let script = "for i in 0 1 2 3 4 5 6 7 8 9; do sleep 100 & done; echo all; kill $(jobs -p)";
        let (status, said) = run(&group, script);
        assert!(matches!(status, WaitStatus::Exited(_, 2)), "{status:?} {said}");
        assert!(said.contains("fork") && !said.contains("all"), "{said}");
        let tasks = group.usage().tasks;
        assert_eq!((tasks.current, tasks.limit), (Some(4), Some(5)));
        assert_eq!(group.processes().unwrap().len(), 4);
        group.kill_all().unwrap();
        group.remove().unwrap();
        assert!(group.processes().unwrap().is_empty());
    });
}

#[test]
fn a_part_of_a_cpu_is_all_it_gets() {
    with_groups(&["cpu"], |ours| {
        // So little that a busy host has it to give.
        let limits = Limits {
            cpus: Some("0.05".parse().unwrap()),
            cpu_shares: Some("512".parse().unwrap()),
            ..Limits::default()
        };
        let group = ours.plan(&limits, None).unwrap();
        match version(&group, Controller::Cpu) {
            Version::One => {
                assert_eq!(value(&group, Controller::Cpu, "cpu.cfs_quota_us"), "5000");
                assert_eq!(value(&group, Controller::Cpu, "cpu.shares"), "512");
            }
            Version::Two => {
                assert_eq!(value(&group, Controller::Cpu, "cpu.max"), "5000 100000");
                assert_eq!(value(&group, Controller::Cpu, "cpu.weight"), "50");
            }
        }
        let (process, _) = start(&group, "while :; do :; done");
        wait("it is held back", || group.usage().cpu.throttled_periods.is_some_and(|n| n >= 3));
        let cpu = group.usage().cpu;
        assert!(cpu.throttled_us.unwrap() > 0 && cpu.total_us.unwrap() > 0, "{cpu:?}");
        // Time is handed out in slices to each CPU, and tasks are stopped at the next tick.
        let most = (cpu.periods.unwrap() + 2) * 5_000;
        assert!(cpu.total_us.unwrap() <= most * 4, "{cpu:?}");
        group.kill_all().unwrap();
        assert!(matches!(process.wait().unwrap(), WaitStatus::Signaled(_, Signal::SIGKILL, _)));
        group.remove().unwrap();
    });
}

#[test]
fn cpus_are_chosen() {
    with_groups(&["cpuset"], |ours| {
        let limits = Limits { cpuset_cpus: Some("0".parse().unwrap()), ..Limits::default() };
        let group = ours.plan(&limits, None).unwrap();
        let (status, said) = run(&group, "grep Cpus_allowed_list /proc/self/status");
        assert_eq!(said.split_whitespace().last(), Some("0"), "{status:?}");
        group.remove().unwrap();
        let absent = Limits { cpuset_cpus: Some("0,8191".parse().unwrap()), ..Limits::default() };
        assert!(matches!(ours.plan(&absent, None), Err(Error::Cpus { .. })));
    });
}

#[test]
fn huge_pages_are_limited() {
    // What version 2's root passes down stays, so this is for a machine that is thrown away.
    if !Hierarchies::find().legacy.is_empty() {
        return say("SKIPPED: huge pages are limited in the testbed");
    }
    with_groups(&["hugetlb"], |ours| {
        let limits = Limits { hugetlb: vec!["2M:4M".parse().unwrap()], ..Limits::default() };
        let group = ours.plan(&limits, None).unwrap();
        assert_eq!(value(&group, Controller::Hugetlb, "hugetlb.2MB.max"), "4194304");
        group.remove().unwrap();
    });
}

/// A node of the disk that a file in this directory is on, and the file; or of any disk that can be read,
/// and itself.
fn disk(directory: &Path) -> Option<(PathBuf, PathBuf)> {
    let file = directory.join("file");
    fs::write(&file, vec![1; 2 << 20]).unwrap();
    File::open(&file).unwrap().sync_all().unwrap();
    let below = fs::metadata(&file).unwrap().dev();
    let node = directory.join("disk");
    let disks = fs::read_dir("/sys/block").ok()?.filter_map(Result::ok).map(|entry| entry.path());
    for disk in disks {
        let read = |file: &str| fs::read_to_string(disk.join(file)).unwrap_or_default();
        let enough = read("size").trim().parse::<u64>().is_ok_and(|sectors| sectors >= 4096);
        let device = read("dev")
            .trim()
            .split_once(':')
            .and_then(|(major, minor)| Some(makedev(major.parse().ok()?, minor.parse().ok()?)));
        let Some(device) = device.filter(|_| enough) else { continue };
        mknod(&node, SFlag::S_IFBLK, Mode::S_IRUSR, device).ok()?;
        if device == below {
            return Some((node, file));
        }
        if File::open(&node).is_ok() {
            return Some((node.clone(), node));
        }
        fs::remove_file(&node).unwrap();
    }
    None
}

#[test]
fn reads_from_a_disk_are_counted_and_held_back() {
    // Not /tmp, which is often in memory.
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"));
    let place = place.unwrap_or_else(|_| tempfile::tempdir().unwrap());
    let Some((disk, source)) = disk(place.path()) else {
        return say("SKIPPED: there is no disk");
    };
    let found = Hierarchies::find();
    let io = if found.legacy.is_empty() { "io" } else { "blkio" };
    with_groups(&[io], |ours| {
        let rate = |rate: &str| format!("{}:{rate}", text(&disk));
        let limits = Limits {
            device_read_bps: vec![DeviceRate::of_bytes(&rate("1M")).unwrap()],
            device_write_iops: vec![DeviceRate::of_operations(&rate("100")).unwrap()],
            ..Limits::default()
        };
        let group = ours.plan(&limits, None).unwrap();
        match version(&group, Controller::Io) {
            Version::One => {
                let bytes = value(&group, Controller::Io, "blkio.throttle.read_bps_device");
                assert!(bytes.ends_with(" 1048576"), "{bytes}");
                let writes = value(&group, Controller::Io, "blkio.throttle.write_iops_device");
                assert!(writes.ends_with(" 100"), "{writes}");
            }
            Version::Two => {
                let most = value(&group, Controller::Io, "io.max");
                assert!(most.ends_with(" rbps=1048576 wbps=max riops=max wiops=100"), "{most}");
            }
        }
        let before = Instant::now();
        let script =
            format!("dd if={} of=/dev/null bs=64k count=24 iflag=direct 2>&1", text(&source));
        let (status, said) = run(&group, &script);
        assert!(matches!(status, WaitStatus::Exited(_, 0)), "{status:?} {said}");
        // A burst may go first; a second at full speed is hundreds of times as much.
        assert!(before.elapsed() > Duration::from_millis(500), "{said}");
        assert!(group.usage().io.unwrap().read_bytes >= 24 << 16, "{:?}", group.usage().io);
        group.remove().unwrap();
    });
}

#[test]
fn stopped_processes_do_nothing_and_go_on_or_are_killed() {
    with_groups(&[], |ours| {
        let group = ours.plan(&Limits::default(), None).unwrap();
        let (process, _) = start(&group, "while :; do :; done");
        let used = || group.usage().cpu.total_us.unwrap();
        wait("it runs", || used() > 0);
        group.freeze().unwrap();
        assert!(group.is_frozen());
        // What it did last may be counted a moment after it has stopped.
        let (mut then, pause) = (used(), Duration::from_millis(50));
        let mut is_still = || {
            thread::sleep(pause);
            then == mem::replace(&mut then, used())
        };
        assert!(is_still() || is_still(), "it goes on");
        group.thaw().unwrap();
        wait("it goes on", || used() > then);
        assert!(!group.is_frozen());
        group.freeze().unwrap();
        group.kill_all().unwrap();
        assert!(matches!(process.wait().unwrap(), WaitStatus::Signaled(_, Signal::SIGKILL, _)));
        group.remove().unwrap();
    });
}

#[test]
fn a_group_is_removed_with_what_was_made_in_it() {
    with_groups(&[], |ours| {
        let group = ours.plan(&Limits::default(), None).unwrap();
        let (process, _) = start(&group, "sleep 1000 & exec sleep 1000");
        wait("both run", || group.processes().unwrap().len() == 2);
        let [first, ..] = group.processes().unwrap()[..] else { panic!() };
        // In version 2 processes are in groups without others below, or controllers are not passed on.
        for member in group.members() {
            let deeper = member.path.join("a/b/c");
            fs::create_dir_all(&deeper).unwrap();
            if !member.controllers.contains(&Controller::Cpuset) {
                fs::write(deeper.join("cgroup.procs"), first.to_string()).unwrap();
            }
        }
        assert_eq!(group.processes().unwrap().len(), 2);
        // It survives being stored: another process may do the rest.
        let stored = serde_json::to_string(&group).unwrap();
        let group: Group = serde_json::from_str(&stored).unwrap();
        group.kill_all().unwrap();
        group.remove().unwrap();
        assert!(matches!(process.wait().unwrap(), WaitStatus::Signaled(_, Signal::SIGKILL, _)));
        assert!(group.members().iter().all(|member| !member.path.exists()));
        group.remove().unwrap();
        group.kill_all().unwrap();
    });
}

#[test]
fn what_a_dead_instance_left_is_swept_and_no_other() {
    with_groups(&[], |ours| {
        let none = Limits::default();
        let purpose = Purpose {
            limits: &none,
            default_tasks: None,
            besides: Purpose::COUNTED,
            devices: None,
        };
        let make = |name: &str| ours.0.plan(name, &purpose).unwrap().create().unwrap();
        let (live, dead) = (make("live"), make("dead"));
        let again = ours.0.plan("live", &purpose).unwrap().create().unwrap_err();
        assert!(again.to_string().contains("a group of this name is there"), "{again}");
        let (survivor, _) = start(&live, "exec sleep 1000");
        let (leftover, _) = start(&dead, "sleep 1000 & exec sleep 1000");
        wait("both run", || dead.processes().unwrap().len() == 2);
        assert_eq!(ours.0.sweep(|name| name == "live").unwrap(), ["dead"]);
        assert!(matches!(leftover.wait().unwrap(), WaitStatus::Signaled(_, Signal::SIGKILL, _)));
        assert_eq!(live.processes().unwrap(), [survivor.pid()]);
        assert!(dead.members().iter().all(|member| !member.path.exists()));
        ours.0.remove_parent();
        assert!(live.members().iter().all(|member| member.path.exists()));
        live.kill_all().unwrap();
        live.remove().unwrap();
    });
}

#[test]
fn only_listed_devices_can_be_opened() {
    // Version 2 does it without a controller.
    let legacy = !Hierarchies::find().legacy.is_empty();
    with_groups(if legacy { &["devices"] } else { &[] }, |ours| {
        let rules = &DeviceRule::DEFAULT;
        let group = ours.plan(&Limits::default(), Some(rules)).unwrap();
        let script = "head -c 1 /dev/zero >/dev/null && echo zero; cat /dev/kmsg";
        let (_, said) = run(&group, script);
        assert!(said.starts_with("zero\n") && said.contains("not permitted"), "{said}");
        group.remove().unwrap();
    });
}

#[test]
fn an_ordinary_user_has_what_is_delegated_to_them() {
    /// Set in the program that runs this test as that user.
    const INSIDE: &str = "DUPLEX_TEST_DELEGATED";
    if std::env::var_os(INSIDE).is_some() {
        return as_ordinary_user();
    }
    let Some(mount) = Hierarchies::find().unified else {
        return say("SKIPPED: version 2 is not mounted");
    };
    let theirs = mount.point.join(format!("duplex-test-{}-user", std::process::id()));
    let leaf = theirs.join("leaf");
    if let Err(error) = fs::create_dir_all(&leaf) {
        return say(&format!("SKIPPED: {}: {error}", leaf.display()));
    }
    if mount.controllers().contains("pids") {
        fs::write(mount.point.join("cgroup.subtree_control"), "+pids").unwrap();
    }
    for group in [&theirs, &leaf] {
        for file in ["", "cgroup.procs", "cgroup.subtree_control"] {
            chown(group.join(file), Some(65534), Some(65534)).unwrap();
        }
    }
    let script = format!(
        "echo $$ >{}/cgroup.procs && exec setpriv --reuid 65534 --regid 65534 --clear-groups \
         env {INSIDE}=1 {} --exact an_ordinary_user_has_what_is_delegated_to_them --nocapture",
        text(&leaf),
        text(&std::env::current_exe().unwrap()),
    );
    let output = process::output(Command::new("sh").args(["-c", &script]));
    for group in [&leaf, &theirs] {
        fs::remove_dir(group).unwrap();
    }
    match output.status.code() {
        Some(126 | 127) => say("SKIPPED: that user can't run this program"),
        code => {
            let said = String::from_utf8_lossy(&output.stdout);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(code, Some(0), "{said}\n{stderr}");
            assert!(said.contains("1 passed"), "{said}");
        }
    }
}

/// In a group below one that belongs to this user.
fn as_ordinary_user() {
    let ours = Ours(Cgroups::find(Cgroups::NAME).unwrap());
    let mixed = !Hierarchies::find().legacy.is_empty();
    let none = Limits::default();
    let tasks = Limits { pids: Some(Bound::AtMost(5)), ..Limits::default() };
    if mixed {
        // Nobody has delegated anything of version 1.
        let error = ours.plan(&tasks, None).unwrap_err();
        assert!(matches!(error, Error::NotPermitted(Controller::Pids)), "{error}");
    }
    let group = ours.plan(if mixed { &none } else { &tasks }, None).unwrap();
    let [member] = group.members() else { panic!("{group:?}") };
    assert!(text(&member.path).ends_with("-user/duplex/web"), "{group:?}");
    assert_eq!(group.usage().tasks.limit, (!mixed).then_some(5));
    let (process, _) = start(&group, "exec sleep 1000");
    assert_eq!(group.processes().unwrap(), [process.pid()]);
    group.freeze().unwrap();
    group.kill_all().unwrap();
    process.wait().unwrap();
    group.remove().unwrap();
}

#[test]
fn all_of_this_in_the_testbed() {
    if duplex::host::Hierarchies::find().legacy.is_empty() {
        return say("SKIPPED: this host has version 2");
    }
    if !common::has_testbed() {
        return;
    }
    let this = std::env::current_exe().unwrap();
    // One at a time: there each takes ten times as long.
    let script = format!("{} --test-threads 1 --nocapture", text(&this));
    let output = process::output(&mut testbed::in_testbed(&script));
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
}
