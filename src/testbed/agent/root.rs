//! The testbed's root: the host's file system below, memory on top.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::unistd::{chdir, chroot};

use super::super::failure::{Failure, Step};
use super::super::protocol::{DISK_ROOT, NAMED_TAG, ROOT_TAG};
use super::{NAMED, PROGRAM, devices};

const LOWER: &str = "/lower";
const MEMORY: &str = "/memory";
const ROOT: &str = "/root";

/// Mounts what the kernel itself offers, over the initramfs.
pub(super) fn mount_kernel_file_systems() -> Result<(), Failure> {
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    put("proc", "proc", "/proc", quiet | MsFlags::MS_NODEV, "")?;
    put("sysfs", "sysfs", "/sys", quiet | MsFlags::MS_NODEV, "")?;
    put("devtmpfs", "devtmpfs", "/dev", quiet, "mode=0755")
}

/// Builds the root and goes there. What commands write stays in memory, in the overlay's upper
/// layer, except under the mounts made here.
pub(super) fn switch() -> Result<(), Failure> {
    let shared = mount_lower()?;
    put("tmpfs", "tmpfs", MEMORY, MsFlags::empty(), "mode=0755")?;
    make_directories(MEMORY, &["upper", "work"])?;
    let layers = format!("lowerdir={LOWER},upperdir={MEMORY}/upper,workdir={MEMORY}/work");
    put("overlay", "overlay", ROOT, MsFlags::empty(), &layers)?;
    // The export leaves these out, and a disk image may lack them altogether.
    make_directories(ROOT, &["proc", "sys", "dev", "run", "tmp"])?;
    populate(shared)?;
    // As switch_root does; pivot_root does not work on an initramfs.
    chdir(ROOT).step("enter the new root")?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .step("move the new root into place")?;
    chroot(".").step("change the root")?;
    chdir("/").step("enter the root")
}

/// Mounts the layer below; returns whether it is the host's live file system.
fn mount_lower() -> Result<bool, Failure> {
    let command_line = fs::read_to_string("/proc/cmdline").step("read the kernel command line")?;
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NODEV;
    if command_line.split_whitespace().any(|word| word == DISK_ROOT) {
        let disk = devices::disk_with_serial(ROOT_TAG)?;
        put(&disk.to_string_lossy(), "ext4", LOWER, flags, "")?;
        return Ok(false);
    }
    put(ROOT_TAG, "virtiofs", LOWER, flags, "")?;
    Ok(true)
}

fn populate(shared: bool) -> Result<(), Failure> {
    for tree in ["proc", "sys", "dev"] {
        mount(
            Some(&*format!("/{tree}")),
            &*format!("{ROOT}/{tree}"),
            None::<&str>,
            MsFlags::MS_BIND | MsFlags::MS_REC,
            None::<&str>,
        )
        .step_with(|| format!("bring /{tree} along"))?;
    }
    let inside = |path: &str| format!("{ROOT}{path}");
    let usual = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    put("tmpfs", "tmpfs", &inside("/run"), usual, "mode=0755")?;
    make_directories(ROOT, &["dev/pts", "dev/shm"])?;
    put("devpts", "devpts", &inside("/dev/pts"), MsFlags::MS_NOSUID, "mode=0620,ptmxmode=0666")?;
    put("tmpfs", "tmpfs", &inside("/dev/shm"), usual, "mode=1777")?;
    put("cgroup2", "cgroup2", &inside("/sys/fs/cgroup"), usual | MsFlags::MS_NOEXEC, "")?;
    for (name, target) in [("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")]
    {
        symlink(format!("/proc/self/{target}"), inside(&format!("/dev/{name}")))
            .step_with(|| format!("make /dev/{name}"))?;
    }
    make_directories(ROOT, &["run/duplex/bin", "run/duplex/named", "run/lock"])?;
    let program = inside(PROGRAM);
    fs::write(&program, "").step_with(|| format!("make {program}"))?;
    mount(Some("/init"), &*program, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .step("make this program visible")?;
    if shared {
        put(NAMED_TAG, "virtiofs", &inside(NAMED), usual, "")?;
    }
    Ok(())
}

fn make_directories(below: &str, names: &[&str]) -> Result<(), Failure> {
    for name in names {
        let path = Path::new(below).join(name);
        fs::create_dir_all(&path).step_with(|| format!("make {}", path.display()))?;
    }
    Ok(())
}

fn put(
    source: &str,
    kind: &str,
    target: &str,
    flags: MsFlags,
    options: &str,
) -> Result<(), Failure> {
    mount(Some(source), target, Some(kind), flags, Some(options))
        .step_with(|| format!("mount {kind} at {target}"))
}
