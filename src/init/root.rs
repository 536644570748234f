//! The command's root: the image's disk, read-only, below a writable layer; and what the kernel
//! offers, mounted where programs expect it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use nix::mount::{MsFlags, mount};
use nix::unistd::{chdir, chroot};

use super::protocol::{Layer, Volume};
use crate::failure::{Failure, Step};
use crate::isolate::mounting::{INERT, make_directories, put};

/// The image's disk.
const IMAGE_DISK: &str = "/dev/vda";

/// The disk of a writable layer that stays.
const LAYER_DISK: &str = "/dev/vdb";

/// Mounts the kernel's devices in the initramfs, for the disks are among them. If its root is a disk,
/// the kernel has done that.
pub(super) fn mount_devices() -> Result<(), Failure> {
    if fs::exists(IMAGE_DISK).step_with(|| format!("look for {IMAGE_DISK}"))? {
        return Ok(());
    }
    put("devtmpfs", "devtmpfs", "/dev", MsFlags::MS_NOSUID, "mode=0755")
}

/// Builds the root and moves into it.
pub(super) fn enter(layer: Layer) -> Result<(), Failure> {
    make_directories("/", &["image", "layer", "root"])?;
    put(IMAGE_DISK, "ext4", "/image", MsFlags::MS_RDONLY, "")?;
    match layer {
        Layer::Memory => put("tmpfs", "tmpfs", "/layer", MsFlags::empty(), "mode=0755")?,
        Layer::Disk => put(LAYER_DISK, "ext4", "/layer", MsFlags::empty(), "")?,
    }
    make_directories("/layer", &["upper", "work"])?;
    take_after("/layer/upper", "/image").step("prepare the writable layer")?;
    let layers = "lowerdir=/image,upperdir=/layer/upper,workdir=/layer/work";
    put("overlay", "overlay", "/root", MsFlags::empty(), layers)?;
    mount_kernel_file_systems("/root")?;
    // As switch_root does.
    chdir("/root").step("enter the new root")?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .step("move the new root into place")?;
    chroot(".").step("change the root")?;
    chdir("/").step("enter the root")?;
    provide_tmp().step("make /tmp")
}

/// Makes directories of the host visible where they were asked for.
pub(super) fn mount_volumes(volumes: &[Volume]) -> Result<(), Failure> {
    for Volume { tag, at, read_only } in volumes {
        fs::create_dir_all(at).step_with(|| format!("make {}", at.display()))?;
        let mut flags = INERT;
        flags.set(MsFlags::MS_RDONLY, *read_only);
        mount(Some(tag.as_str()), at, Some("virtiofs"), flags, None::<&str>)
            .step_with(|| format!("mount the volume at {}", at.display()))?;
    }
    Ok(())
}

/// The overlay's root has the attributes of the upper layer's.
fn take_after(upper: &str, lower: &str) -> std::io::Result<()> {
    let metadata = fs::metadata(lower)?;
    chown(upper, Some(metadata.uid()), Some(metadata.gid()))?;
    fs::set_permissions(upper, metadata.permissions())
}

/// What containers have, where they have it.
fn mount_kernel_file_systems(root: &str) -> Result<(), Failure> {
    make_directories(root, &["proc", "sys", "dev"])?;
    let at = |path: &str| format!("{root}{path}");
    let strict = INERT | MsFlags::MS_NOEXEC;
    put("proc", "proc", &at("/proc"), strict, "")?;
    put("sysfs", "sysfs", &at("/sys"), strict, "")?;
    put("cgroup2", "cgroup2", &at("/sys/fs/cgroup"), strict, "")?;
    mount(Some("/dev"), at("/dev").as_str(), None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .step("move /dev into the new root")?;
    make_directories(&at("/dev"), &["pts", "shm"])?;
    let terminals = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    put("devpts", "devpts", &at("/dev/pts"), terminals, "mode=0620,ptmxmode=0666,gid=5")?;
    put("tmpfs", "tmpfs", &at("/dev/shm"), strict, "mode=1777")?;
    for (name, target) in [("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")]
    {
        symlink(format!("/proc/self/{target}"), at(&format!("/dev/{name}")))
            .step_with(|| format!("make /dev/{name}"))?;
    }
    Ok(())
}

/// Programs count on it; an image may do without.
pub(crate) fn provide_tmp() -> std::io::Result<()> {
    if fs::exists("/tmp")? {
        return Ok(());
    }
    fs::create_dir("/tmp")?;
    fs::set_permissions("/tmp", fs::Permissions::from_mode(0o1777))
}
