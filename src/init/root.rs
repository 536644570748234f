//! The command's root: the image's disk, read-only, below a writable layer; and what the kernel
//! offers, mounted where programs expect it.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::unistd::{chdir, chroot};

use super::protocol::{Layer, Volume};
use crate::failure::{Failure, Step};
use crate::isolate::mounting::{INERT, make_directories, put, take_after};
use crate::workload::Tmpfs;

/// The image's disk.
const IMAGE_DISK: &str = "/dev/vda";

const SHARED_MEMORY: MsFlags = INERT.union(MsFlags::MS_NOEXEC);

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
    take_after(Path::new("/layer/upper"), Path::new("/image"))
        .step("prepare the writable layer")?;
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

/// What a caller wants to be somewhere.
enum Wanted<'a> {
    Volume(&'a Volume),
    Tmpfs(&'a Tmpfs),
}

impl Wanted<'_> {
    fn at(&self) -> &Path {
        match self {
            Wanted::Volume(volume) => &volume.at,
            Wanted::Tmpfs(tmpfs) => &tmpfs.at,
        }
    }

    fn mount(&self) -> nix::Result<()> {
        match self {
            Wanted::Volume(Volume { tag, at, read_only }) => {
                let mut flags = INERT;
                flags.set(MsFlags::MS_RDONLY, *read_only);
                mount(Some(tag.as_str()), at, Some("virtiofs"), flags, None::<&str>)
            }
            Wanted::Tmpfs(Tmpfs { at, flags, options }) => {
                let flags = MsFlags::from_bits_truncate(*flags);
                mount(Some("tmpfs"), at, Some("tmpfs"), flags, Some(options.as_str()))
            }
        }
    }
}

/// Makes directories of the host visible where they were asked for, and mounts memory.
pub(super) fn mount_further(volumes: &[Volume], tmpfs: &[Tmpfs]) -> Result<(), Failure> {
    let volumes = volumes.iter().map(Wanted::Volume);
    let mut all: Vec<Wanted<'_>> = volumes.chain(tmpfs.iter().map(Wanted::Tmpfs)).collect();
    // One may lie in another: that is mounted first.
    all.sort_by_key(|wanted| wanted.at().components().count());
    for wanted in all {
        let at = wanted.at();
        fs::create_dir_all(at).step_with(|| format!("make {}", at.display()))?;
        wanted.mount().step_with(|| format!("mount what is to be at {}", at.display()))?;
    }
    Ok(())
}

/// Sets how large /dev/shm may be, in bytes.
pub(super) fn resize_shared_memory(size: u64) -> Result<(), Failure> {
    let flags = SHARED_MEMORY | MsFlags::MS_REMOUNT;
    put("tmpfs", "tmpfs", "/dev/shm", flags, &format!("size={size}"))
}

/// Forbids writing to the root, and to no other mount.
pub(super) fn make_read_only() -> Result<(), Failure> {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).step("make the root read-only")
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
    put("tmpfs", "tmpfs", &at("/dev/shm"), SHARED_MEMORY, "mode=1777")?;
    for (name, target) in [("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")]
    {
        symlink(format!("/proc/self/{target}"), at(&format!("/dev/{name}")))
            .step_with(|| format!("make /dev/{name}"))?;
    }
    Ok(())
}

/// Programs count on it; an image may do without, or have a link there that leads nowhere yet.
pub(crate) fn provide_tmp() -> io::Result<()> {
    match fs::symlink_metadata("/tmp") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir("/tmp")?,
        other => return other.map(drop),
    }
    fs::set_permissions("/tmp", fs::Permissions::from_mode(0o1777))
}
