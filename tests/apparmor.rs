//! The AppArmor profile, in the testbed: a host would keep it loaded.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/mod.rs"]
mod common;

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use duplex::isolate::apparmor::{LoadError, PROFILE, change_at_exec, is_enabled, provide};

use common::image::busybox;
use common::{process, say, testbed, text};

/// Says to this program that it runs in the testbed.
const INSIDE: &str = "DUPLEX_TEST_INSIDE";

/// What a shell says that was started in the profile.
fn in_profile(script: &str) -> io::Result<String> {
    let mut shell = Command::new("/bin/sh");
    // SAFETY: system calls only, between fork and exec.
    unsafe { shell.args(["-c", script]).pre_exec(|| Ok(change_at_exec()?)) };
    let output = shell.output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn without_profile(script: &str) -> String {
    let free = Command::new("/bin/sh").args(["-c", script]).output().unwrap();
    String::from_utf8_lossy(&free.stdout).into_owned()
}

#[test]
fn root_in_the_profile_is_confined() {
    if std::env::var_os(INSIDE).is_none() {
        return in_the_testbed();
    }
    assert!(is_enabled(), "the testbed's kernel has AppArmor");
    match provide() {
        Err(error @ LoadError::Parser(_)) => return say(&format!("SKIPPED: {error}")),
        provided => provided.unwrap(),
    }
    let confined = format!("{PROFILE} (enforce)\n");
    assert_eq!(in_profile("cat /proc/self/attr/current").unwrap(), confined);
    for act in [
        ": > /proc/sys/kernel/domainname",
        ": > /proc/sysrq-trigger",
        "ls /sys/kernel/security/apparmor",
        ": > /sys/kernel/mm/transparent_hugepage/enabled",
        "mount -t tmpfs none /mnt && umount /mnt",
    ] {
        let script = format!("({act}) >/dev/null 2>&1 && echo done || echo denied");
        assert_eq!(without_profile(&script), "done\n", "control: {act}");
        assert_eq!(in_profile(&script).unwrap(), "denied\n", "{act}");
    }
    for act in [
        "echo x > /tmp/duplex-apparmor && rm /tmp/duplex-apparmor",
        "echo 500 > /proc/self/oom_score_adj",
        "sleep 100 & kill $!",
        ": > /dev/null",
        "cat /proc/cpuinfo /proc/1/status >/dev/null",
    ] {
        let script = format!("({act}) && echo done");
        assert_eq!(in_profile(&script).unwrap(), "done\n", "{act}");
    }
    let image = std::env::var(INSIDE).unwrap();
    let contained = |options: &str| {
        let run = "/run/duplex/bin/duplex run --container";
        without_profile(&format!("{run} {options} {image} cat /proc/self/attr/current"))
    };
    assert_eq!(contained(""), confined);
    assert_eq!(contained("--security-opt apparmor=unconfined"), "unconfined\n");
}

/// Runs this program there.
fn in_the_testbed() {
    if !common::has_testbed() {
        return;
    }
    let this = std::env::current_exe().unwrap();
    let image = busybox();
    let mount = "mount -t securityfs none /sys/kernel/security";
    let script = format!("{mount} && {INSIDE}={} {} --nocapture", text(image), text(&this));
    let output = process::output(&mut testbed::in_testbed(&script));
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    // A skip inside is one here.
    let skipped = stderr.lines().filter(|line| line.contains("SKIPPED"));
    skipped.for_each(say);
}
