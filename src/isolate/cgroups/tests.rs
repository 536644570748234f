//! Plans and readings over directories that look like control groups.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::fake::Fake;
use super::*;
use crate::workload::{Bound, Limits};

fn steps(fake: &Fake, purpose: &Purpose<'_>) -> Vec<String> {
    let plan = fake.cgroups().plan("web", purpose).unwrap();
    plan.steps().iter().map(|step| fake.relative(&step.action.to_string())).collect()
}

fn purpose(limits: &Limits) -> Purpose<'_> {
    Purpose { limits, default_tasks: None, besides: &[], devices: None }
}

fn memory(text: &str) -> Limits {
    Limits { memory: Some(text.parse().unwrap()), ..Limits::default() }
}

#[test]
fn version_2_passes_controllers_down_once() {
    let fake = Fake::new().unified("cpuset cpu io memory hugetlb pids");
    let limits = Limits {
        cpus: Some("0.5".parse().unwrap()),
        cpu_shares: Some("512".parse().unwrap()),
        memory_swap: Some(Bound::AtMost(96 << 20)),
        memory_reservation: Some("32M".parse().unwrap()),
        pids: Some(Bound::Unlimited),
        hugetlb: vec!["2M:4M".parse().unwrap()],
        ..memory("64M")
    };
    assert_eq!(
        steps(&fake, &purpose(&limits)),
        [
            "write +cpu +memory +pids +hugetlb to unified/cgroup.subtree_control",
            "make unified/duplex, unless it is there",
            "write +cpu +memory +pids +hugetlb to unified/duplex/cgroup.subtree_control",
            "make unified/duplex/web",
            "write 50 to unified/duplex/web/cpu.weight",
            "write 50000 100000 to unified/duplex/web/cpu.max",
            "write 33554432 to unified/duplex/web/memory.low",
            "write 67108864 to unified/duplex/web/memory.max",
            "write 33554432 to unified/duplex/web/memory.swap.max",
            "write max to unified/duplex/web/pids.max",
            "write 4194304 to unified/duplex/web/hugetlb.2MB.max",
        ]
    );
    // Nothing is asked for twice: neither from ours, nor from above.
    fake.put("unified/duplex/cgroup.subtree_control", "cpu memory pids hugetlb\n");
    assert_eq!(steps(&fake, &purpose(&limits))[0], "make unified/duplex/web");
    fake.put("unified/duplex/cgroup.subtree_control", "cpu\n");
    fake.put("unified/cgroup.subtree_control", "cpu memory hugetlb\n");
    assert_eq!(
        steps(&fake, &purpose(&limits))[..3],
        [
            "write +pids to unified/cgroup.subtree_control",
            "write +memory +pids +hugetlb to unified/duplex/cgroup.subtree_control",
            "make unified/duplex/web",
        ]
    );
}

#[test]
fn a_mixed_host_uses_each_controller_where_it_is() {
    let fake = Fake::new().unified("hugetlb").legacy(&["cpu,cpuacct", "memory", "pids", "freezer"]);
    let limits = Limits { cpus: Some("1.5".parse().unwrap()), ..memory("64M") };
    let purpose =
        Purpose { default_tasks: Some(4096), besides: Purpose::COUNTED, ..purpose(&limits) };
    assert_eq!(
        steps(&fake, &purpose),
        [
            "make unified/duplex, unless it is there",
            "make unified/duplex/web",
            "make cpu,cpuacct/duplex, unless it is there",
            "make cpu,cpuacct/duplex/web",
            "write 100000 to cpu,cpuacct/duplex/web/cpu.cfs_period_us",
            "write 150000 to cpu,cpuacct/duplex/web/cpu.cfs_quota_us",
            "make memory/duplex, unless it is there",
            "make memory/duplex/web",
            "write 67108864 to memory/duplex/web/memory.limit_in_bytes",
            "write 134217728 to memory/duplex/web/memory.memsw.limit_in_bytes, where that is known",
            "make pids/duplex, unless it is there",
            "make pids/duplex/web",
            "write 4096 to pids/duplex/web/pids.max, where that is known",
        ]
    );
}

#[test]
fn version_1_alone_needs_a_group_for_each_thing() {
    let fake = Fake::new().legacy(&["cpuacct", "memory", "pids", "freezer", "devices", "cpuset"]);
    fake.put("cpuset/cpuset.effective_cpus", "0-3\n");
    fake.put("cpuset/cpuset.effective_mems", "0\n");
    fake.put("cpuset/cpuset.mems", "0\n");
    let limits = Limits { cpuset_cpus: Some("1,3".parse().unwrap()), ..Limits::default() };
    let rules = &DeviceRule::DEFAULT[..3];
    let purpose = Purpose { besides: Purpose::COUNTED, devices: Some(rules), ..purpose(&limits) };
    assert_eq!(
        steps(&fake, &purpose),
        [
            "make cpuset/duplex, unless it is there",
            "write 0-3 to cpuset/duplex/cpuset.cpus",
            "write 0 to cpuset/duplex/cpuset.mems",
            "make cpuset/duplex/web",
            "write 0 to cpuset/duplex/web/cpuset.mems",
            "write 1,3 to cpuset/duplex/web/cpuset.cpus",
            "make devices/duplex, unless it is there",
            "make devices/duplex/web",
            "write a to devices/duplex/web/devices.deny",
            "write c *:* m to devices/duplex/web/devices.allow",
            "write b *:* m to devices/duplex/web/devices.allow",
            "write c 1:3 rwm to devices/duplex/web/devices.allow",
            "make pids/duplex, unless it is there",
            "make pids/duplex/web",
            "make memory/duplex, unless it is there",
            "make memory/duplex/web",
            "make cpuacct/duplex, unless it is there",
            "make cpuacct/duplex/web",
            "make freezer/duplex, unless it is there",
            "make freezer/duplex/web",
        ]
    );
    let limits = Limits { cpuset_cpus: Some("4".parse().unwrap()), ..Limits::default() };
    let error = fake.cgroups().plan("web", &super::tests::purpose(&limits)).unwrap_err();
    assert_eq!(error.to_string(), "the CPUs 4 are not all there: this host gives out 0-3");
}

#[test]
fn what_cannot_be_limited_is_refused_and_what_was_not_asked_for_is_left_out() {
    let fake = Fake::new().unified("pids");
    let limits = memory("64M");
    let refused = |fake: &Fake| fake.cgroups().plan("web", &purpose(&limits)).unwrap_err();
    assert!(matches!(refused(&fake), Error::NotAvailable(Controller::Memory)));
    let fake_v1 = Fake::new().legacy(&["pids"]);
    assert!(matches!(refused(&fake_v1), Error::NotAvailable(Controller::Memory)));
    let none = Limits::default();
    let counted = Purpose { default_tasks: Some(9), besides: Purpose::COUNTED, ..purpose(&none) };
    assert_eq!(
        steps(&fake, &counted),
        [
            "write +pids to unified/cgroup.subtree_control, where that is known",
            "make unified/duplex, unless it is there",
            "write +pids to unified/duplex/cgroup.subtree_control, where that is known",
            "make unified/duplex/web",
            "write 9 to unified/duplex/web/pids.max, where that is known",
        ]
    );
    assert!(steps(&Fake::new(), &counted).is_empty());
    let devices = Purpose { devices: Some(&DeviceRule::DEFAULT[2..3]), ..purpose(&none) };
    assert_eq!(
        steps(&fake, &devices),
        [
            "make unified/duplex, unless it is there",
            "make unified/duplex/web",
            "let unified/duplex/web use devices: c 1:3 rwm",
        ]
    );
    let error = fake.cgroups().plan("../web", &purpose(&none)).unwrap_err();
    assert!(matches!(error, Error::Name(_)));
    let bad = Limits { memory_swap: Some(Bound::Unlimited), ..Limits::default() };
    assert!(matches!(fake.cgroups().plan("web", &purpose(&bad)), Err(Error::Limits(_))));
}

#[test]
fn only_block_devices_have_rates() {
    let fake = Fake::new().unified("io");
    let limits = Limits {
        device_read_bps: vec![crate::workload::DeviceRate::of_bytes("/dev/null:1M").unwrap()],
        ..Limits::default()
    };
    let error = fake.cgroups().plan("web", &purpose(&limits)).unwrap_err();
    assert_eq!(error.to_string(), "/dev/null is not a block device: give the node of a whole disk");
}

/// Nothing is read-only to root, so the way of an ordinary user is told by a process of one.
#[test]
fn an_ordinary_user_has_the_topmost_group_that_is_theirs() {
    let fake = Fake::new().unified("pids memory");
    for (group, mode) in [("unified", 0o555), ("unified/user", 0o555), ("unified/user/mine", 0o777)]
    {
        fake.put(&format!("{group}/cgroup.procs"), "");
        let writable = if mode == 0o777 { 0o666 } else { 0o444 };
        set_mode(fake.path(&format!("{group}/cgroup.procs")), writable);
    }
    fake.put("unified/user/mine/deeper/cgroup.procs", "");
    fake.put("unified/user/mine/cgroup.controllers", "pids\n");
    fake.put("own", "0::/user/mine/deeper\n");
    for (group, mode) in
        [("", 0o755), ("unified", 0o555), ("unified/user", 0o555), ("unified/user/mine", 0o777)]
    {
        set_mode(fake.path(group), mode);
    }
    let told = as_nobody(|| {
        let limits = Limits { pids: Some(Bound::AtMost(5)), ..Limits::default() };
        let mine = steps(&fake, &purpose(&limits));
        fake.cgroups().plan("web", &purpose(&memory("64M"))).unwrap_err();
        let elsewhere = Cgroups::at(fake.cgroups().hierarchies, "duplex", fake.root()).unwrap();
        let error = elsewhere.plan("web", &purpose(&limits)).unwrap_err();
        assert!(matches!(error, Error::NotPermitted(Controller::Pids)), "{error}");
        let none = Limits::default();
        assert!(elsewhere.plan("web", &purpose(&none)).unwrap().steps().is_empty());
        mine
    });
    set_mode(fake.path("unified"), 0o755);
    set_mode(fake.path("unified/user"), 0o755);
    let Some(told) = told else { return };
    assert_eq!(
        told,
        [
            "write +pids to unified/user/mine/cgroup.subtree_control",
            "make unified/user/mine/duplex, unless it is there",
            "write +pids to unified/user/mine/duplex/cgroup.subtree_control",
            "make unified/user/mine/duplex/web",
            "write 5 to unified/user/mine/duplex/web/pids.max",
        ]
    );
}

fn set_mode(path: PathBuf, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Runs something on a thread of its own as a user without rights; not for those who can't become one.
fn as_nobody<T: Send>(run: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // Made directly, the call changes this thread alone.
            // SAFETY: a plain system call.
            let changed = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) } == 0;
            if !changed && nix::unistd::geteuid().is_root() {
                return None;
            }
            Some(run())
        });
        thread.join().unwrap()
    })
}

#[test]
fn what_was_used_is_read_from_either_version() {
    let fake = Fake::new().unified("cpu memory pids io");
    for (file, text) in [
        (
            "cpu.stat",
            "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 4\nnr_throttled 2\nthrottled_usec 7\n",
        ),
        ("memory.current", "100\n"),
        ("memory.peak", "200\n"),
        ("memory.max", "max\n"),
        ("memory.events", "low 0\noom 2\noom_kill 1\noom_group_kill 0\n"),
        ("pids.current", "3\n"),
        ("pids.max", "9\n"),
        ("io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n"),
        ("cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=5\n"),
    ] {
        fake.put(&format!("unified/duplex/web/{file}"), text);
    }
    let mut group = Group::default();
    let path = fake.path("unified/duplex/web");
    group.push(Member { version: Version::Two, controllers: vec![Controller::Memory], path });
    let usage = group.usage();
    assert_eq!(
        usage.cpu,
        Cpu {
            total_us: Some(30),
            user_us: Some(20),
            system_us: Some(10),
            periods: Some(4),
            throttled_periods: Some(2),
            throttled_us: Some(7),
        }
    );
    let expected = Memory { current: Some(100), peak: Some(200), limit: None, oom_kills: Some(1) };
    assert_eq!((usage.memory, group.oom_kills()), (expected, Some(1)));
    assert_eq!(usage.tasks, Tasks { current: Some(3), limit: Some(9) });
    assert_eq!(usage.io, Some(Io { read_bytes: 1, written_bytes: 2, reads: 3, writes: 4 }));
    assert_eq!(usage.pressure.cpu.unwrap().total_us, 5);
    assert_eq!(usage.pressure.memory, None);

    let fake = Fake::new().legacy(&["cpu", "memory", "blkio"]);
    for (file, text) in [
        ("cpu/cpu.stat", "nr_periods 4\nnr_throttled 2\nthrottled_time 7000\n"),
        ("memory/memory.usage_in_bytes", "100\n"),
        ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 6\n"),
        (
            "blkio/blkio.throttle.io_service_bytes_recursive",
            "8:0 Read 5\n8:0 Write 6\n8:16 Read 1\nTotal 12\n",
        ),
    ] {
        fake.put(file, text);
    }
    let mut group = Group::default();
    for (name, controller) in
        [("cpu", Controller::Cpu), ("memory", Controller::Memory), ("blkio", Controller::Io)]
    {
        let path = fake.path(name);
        group.push(Member { version: Version::One, controllers: vec![controller], path });
    }
    let usage = group.usage();
    assert_eq!((usage.cpu.throttled_us, usage.cpu.total_us), (Some(7), None));
    assert_eq!((usage.memory.current, usage.memory.limit), (Some(100), None));
    assert_eq!((usage.memory.oom_kills, group.oom_kills()), (Some(6), Some(6)));
    assert_eq!(usage.io, Some(Io { read_bytes: 6, written_bytes: 6, reads: 0, writes: 0 }));
}
