//! Limits of VMs, each met by a guest that tries to pass it: on the VMM's control group, of version 2,
//! in the testbed.

use std::process::Stdio;

use super::shell;
use crate::common::process::{self, Process};
use crate::common::{DUPLEX, image, soak, testbed, text};
use crate::guest::in_emulation;

/// What a script says that runs in the testbed beside the guests.
fn beside(script: &str) -> String {
    testbed::stdout_of(testbed::in_testbed(script))
}

/// A guest that has said that it is up.
fn start(options: &[&str], name: &str, script: &str) -> Process {
    let options = [options, &["--name", name]].concat();
    let mut process = Process::start(&mut shell(&options, script));
    process.stdout.wait_for("up\n");
    process
}

#[test]
fn a_share_of_a_processor_is_held() {
    in_emulation(&"half a processor", || {
        let name = "vm-half-a-processor";
        let mut process = start(&["--cpus", "0.5"], name, "echo up; while :; do :; done");
        let seconds = if soak() { 10 } else { 3 };
        let sample = "grep usage_usec cpu.stat; cut -d ' ' -f 1 /proc/uptime";
        let said = beside(&format!(
            "cd /sys/fs/cgroup/duplex/{name}-* && cat cpu.max && {sample} && sleep {seconds} && {sample}"
        ));
        let words: Vec<f64> =
            said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [quota, period, used, then, more, now] = words[..] else { panic!("{said}") };
        assert_eq!((quota, period), (50_000.0, 100_000.0));
        let share = (more - used) / 1e6 / (now - then);
        // On a busy host the emulated clock runs on while its ticks wait.
        assert!(share < if soak() { 0.525 } else { 0.7 }, "{share}");
        assert!(share > if soak() { 0.475 } else { 0.2 }, "{share}");
        process.kill();
    });
}

#[test]
fn the_vmm_has_what_it_needs_and_no_more() {
    in_emulation(&"a VMM's group", || {
        let name = "vm-grouped";
        let options =
            ["--cpus", "1.5", "--memory", "64M", "--cpu-shares", "512", "--cpuset-cpus", "0-1"];
        let options =
            [&options[..], &["--memory-reservation", "32M", "--oom-score-adj", "700"]].concat();
        // As much as the guest can have.
        let script = "grep -c processor /proc/cpuinfo; mount -o remount,size=100% /dev/shm
                      dd if=/dev/zero of=/dev/shm/x bs=64k count=640 2>/dev/null; echo up; sleep 1000";
        let mut process =
            Process::start(&mut shell(&[&options[..], &["--name", name]].concat(), script));
        assert_eq!(process.stdout.wait_for("up\n"), "2\nup\n");
        let said = beside(&format!(
            "cd /sys/fs/cgroup/duplex/{name}-* && cat cpu.max cpu.weight cpuset.cpus memory.max memory.low \
             && cat memory.peak && grep oom_kill memory.events"
        ));
        let lines: Vec<&str> = said.lines().collect();
        let [cpu, weight, cpus, most, low, peak, kills, ..] = lines[..] else { panic!("{said}") };
        assert_eq!((cpu, weight, cpus), ("150000 100000", "50", "0-1"));
        // Guest, VMM and page tables.
        let most: u64 = most.parse().unwrap();
        assert_eq!(most, (64 << 20) + (32 << 20) + (64 << 20) / 128);
        assert_eq!((low, kills), ("33554432", "oom_kill 0"));
        let peak: u64 = peak.parse().unwrap();
        assert!(peak > 40 << 20 && peak < most, "{peak}");
        process.kill();
    });
}

#[test]
fn want_of_the_hosts_memory_is_told_from_the_guests() {
    in_emulation(&"a VMM that is killed", || {
        let name = "vm-starved";
        let script =
            "dd if=/dev/zero of=/dev/shm/x bs=1M count=48 2>/dev/null; echo up; sleep 1000";
        let process = start(&["--memory", "128M"], name, script);
        beside(&format!("echo 24M >$(echo /sys/fs/cgroup/duplex/{name}-*/memory.max)"));
        let output = process.output();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("the VM itself ran out of the memory"), "{stderr}");
        assert_eq!(output.status.code(), Some(137));
    });
}

#[test]
fn reads_of_a_disk_are_as_slow_as_they_may_be() {
    in_emulation(&"a disk's rate", || {
        // The writable layer lies on the testbed's own disk. The first run makes a file in it, which nobody
        // remembers when the second reads it.
        let run = format!("{DUPLEX} run --testbed never --keep /mnt/layer");
        let image = text(image::busybox());
        let time = "read before rest </proc/uptime; cat /file >/dev/null; read after rest </proc/uptime; \
                    echo $before $after";
        let script = format!(
            "mkfs.ext4 -q /dev/vda && mount /dev/vda /mnt && export XDG_RUNTIME_DIR=/dev/shm && \
             {run} {image} dd if=/dev/urandom of=/file bs=1M count=12 2>/dev/null && \
             sync && echo 3 >/proc/sys/vm/drop_caches && \
             {run} --device-read-bps /dev/vda:4M {image} sh -c '{time}'"
        );
        let mut command = testbed::in_testbed(&script);
        let output = process::output(command.stdin(Stdio::null()));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let times: Vec<f64> = said.split_whitespace().map(|time| time.parse().unwrap()).collect();
        let [before, after] = times[..] else {
            panic!("{said} {}", String::from_utf8_lossy(&output.stderr))
        };
        let took = after - before;
        assert!((2.7..3.3).contains(&took), "{took} s");
    });
}
