//! After a boot nothing is left: no process, file descriptor, socket, mount or temporary file.
//! Testbeds that are killed have tests of their own (`testbed_lifetime.rs`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use common::process::{Process, status};
use common::tiny_kernel::{self, LOOP, POWER_OFF};
use common::{duplex, has_kvm, has_testbed, soak, temporary_file, text};
use duplex::guest_images::{Cache, hello_initramfs, tuned_kernel};

/// What a host could keep of a guest.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    temporary_files: BTreeSet<String>,
    mounts: String,
    unix_sockets: BTreeSet<String>,
    children: BTreeSet<String>,
}

impl Traces {
    fn now(temporary: &Path) -> Traces {
        let names = |path: &Path| -> BTreeSet<String> {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        };
        let sockets = fs::read_to_string("/proc/self/net/unix").unwrap();
        let named = sockets.lines().filter_map(|line| line.split_whitespace().nth(7));
        Traces {
            temporary_files: names(temporary),
            mounts: fs::read_to_string("/proc/self/mountinfo").unwrap(),
            unix_sockets: named.filter(|n| n.contains("duplex")).map(str::to_owned).collect(),
            children: processes_with(temporary),
        }
    }
}

/// Processes whose environment names this directory: those of this test and all that they start.
fn processes_with(temporary: &Path) -> BTreeSet<String> {
    let needle = format!("TMPDIR={}", temporary.display());
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|variable| variable == needle.as_bytes()) {
            found.insert(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found
}

#[test]
fn boots_in_a_row_leave_nothing() {
    if !has_kvm() {
        return;
    }
    let (directory, kernel) = temporary_file("kernel", &tiny_kernel::elf(POWER_OFF));
    let temporary = directory.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let before = Traces::now(&temporary);
    for _ in 0..if soak() { 100 } else { 20 } {
        assert_eq!(status(&mut boot(&kernel, &temporary)).code(), Some(0));
    }
    assert_eq!(Traces::now(&temporary), before);
}

#[test]
fn killed_at_any_moment_it_leaves_nothing() {
    if !has_kvm() {
        return;
    }
    let (directory, kernel) = temporary_file("kernel", &tiny_kernel::elf(LOOP));
    let temporary = directory.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let before = Traces::now(&temporary);
    // From the program's first steps to the running guest.
    for delay in [0, 1, 2, 3, 5, 8, 13, 21, 50, 200] {
        let mut process = Process::start(&mut boot(&kernel, &temporary));
        std::thread::sleep(Duration::from_millis(delay));
        process.kill();
    }
    assert_eq!(Traces::now(&temporary), before);
}

fn boot(kernel: &Path, temporary: &Path) -> std::process::Command {
    let mut command =
        duplex(&["boot", "--testbed", "never", "--memory", "32M", "--kernel", text(kernel)]);
    command.env("TMPDIR", temporary).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

#[test]
fn boots_of_linux_in_a_row_leave_nothing_in_the_testbed() {
    if !has_testbed() {
        return;
    }
    let cache = Cache::open().unwrap();
    let (kernel, initrd) = (tuned_kernel(&cache).unwrap().elf, hello_initramfs(&cache).unwrap());
    // Everything happens in one session, whose /proc shows its own processes only and whose /run
    // nobody else writes to (its /tmp is the host's). The emulator loses a guest now and then
    // (docs/testbed.md, "Known faults"): that one is ended, which must leave nothing either, and
    // another takes its place.
    let script = format!(
        "set -e
         export TMPDIR=/run/tmp; mkdir $TMPDIR
         look() {{ ls /proc | grep -c '^[0-9]'; ls -AR /run /dev/shm | wc -l; \
                   wc -l </proc/self/mountinfo; ls /proc/self/fd | wc -l; }}
         boot() {{ timeout -k 10 120 {duplex} boot --testbed never --memory 64M --kernel {kernel} \
                       --initrd {initrd} --cmdline 'console=ttyS0 quiet panic=-1' </dev/null >/run/said
                   status=$?; cat /run/said; grep -q 'hello from the guest' /run/said || status=99; \
                   return $status; }}
         touch /run/said
         before=$(look)
         for i in $(seq {count}); do
             echo \"boot $i\"
             boot || {{ echo \"RETRIED: boot $i ended with $?\" >&2; boot; }}
         done
         after=$(look)
         [ \"$before\" = \"$after\" ] || {{ echo \"before: $before; after: $after\"; exit 1; }}",
        count = if soak() { 100 } else { 5 },
        duplex = common::DUPLEX,
        kernel = kernel.display(),
        initrd = initrd.display(),
    );
    let output = common::testbed::run(&script);
    let [said, complained] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    if !complained.is_empty() {
        common::say(&complained);
    }
    assert!(output.status.success(), "{said}");
}
