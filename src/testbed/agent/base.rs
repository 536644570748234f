//! What all sessions share: the host's file system, read-only, and the machine's own /dev, /sys
//! and /run. It is PID 1's root; no command sees it as a whole.

use std::fs;
use std::os::unix::fs::symlink;

use nix::mount::{MsFlags, mount};
use nix::unistd::{chdir, chroot};

use super::{HOST, NAMED, devices};
use crate::failure::{Failure, Step};
use crate::isolate::mounting::{INERT, bring_along, make_directories, put};
use crate::testbed::agent::command_line::on_command_line;
use crate::testbed::protocol::{DISK_ROOT, NAMED_IN_IMAGE, NAMED_TAG, PROGRAM, ROOT_TAG};

/// Where the new root is built, in the initramfs.
const BASE: &str = "/root";

/// Mounts what the kernel itself offers, over the initramfs.
pub(super) fn mount_kernel_file_systems() -> Result<(), Failure> {
    put("proc", "proc", "/proc", INERT | MsFlags::MS_NOEXEC, "")?;
    put("sysfs", "sysfs", "/sys", INERT | MsFlags::MS_NOEXEC, "")?;
    put("devtmpfs", "devtmpfs", "/dev", MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, "mode=0755")
}

/// Builds the base and makes it the root.
///
/// That can't stay the initramfs: pivot_root(2), which sessions and the containers in them need,
/// does not work on one.
pub(super) fn switch() -> Result<(), Failure> {
    put("tmpfs", "tmpfs", BASE, MsFlags::empty(), "mode=0755")?;
    make_directories(BASE, &["proc", "sys", "dev", "run"])?;
    make_directories(BASE, &[HOST.trim_start_matches('/')])?;
    let inside = |path: &str| format!("{BASE}{path}");
    let shared = mount_host(&inside(HOST))?;
    for tree in ["/proc", "/sys", "/dev"] {
        bring_along(tree, &inside(tree))?;
    }
    make_directories(BASE, &["dev/pts", "dev/shm"])?;
    put("devpts", "devpts", &inside("/dev/pts"), MsFlags::MS_NOSUID, "mode=0620,ptmxmode=0666")?;
    put("tmpfs", "tmpfs", &inside("/dev/shm"), INERT, "mode=1777")?;
    put("cgroup2", "cgroup2", &inside("/sys/fs/cgroup"), INERT | MsFlags::MS_NOEXEC, "")?;
    for (name, target) in [("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")]
    {
        symlink(format!("/proc/self/{target}"), inside(&format!("/dev/{name}")))
            .step_with(|| format!("make /dev/{name}"))?;
    }
    put("tmpfs", "tmpfs", &inside("/run"), INERT, "mode=0755")?;
    make_directories(BASE, &["run/duplex/bin", "run/duplex/named", "run/lock"])?;
    let program = inside(PROGRAM);
    fs::write(&program, "").step_with(|| format!("make {program}"))?;
    bring_along("/init", &program)?;
    if shared {
        put(NAMED_TAG, "virtiofs", &inside(NAMED), INERT, "")?;
    } else {
        bring_along(&inside(&format!("{HOST}/{NAMED_IN_IMAGE}")), &inside(NAMED))?;
    }
    // As switch_root does.
    chdir(BASE).step("enter the new root")?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .step("move the new root into place")?;
    chroot(".").step("change the root")?;
    chdir("/").step("enter the root")
}

/// Mounts the host's file system; returns whether it is the live one.
fn mount_host(at: &str) -> Result<bool, Failure> {
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NODEV;
    if on_command_line(DISK_ROOT)? {
        let disk = devices::disk_with_serial(ROOT_TAG)?;
        put(&disk.to_string_lossy(), "ext4", at, flags, "")?;
        return Ok(false);
    }
    put(ROOT_TAG, "virtiofs", at, flags, "")?;
    Ok(true)
}
