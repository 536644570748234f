//! The container's root: the image below a writable layer, by overlayfs.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::mount::MsFlags;

use super::plan::Plan;
use crate::failure::{Failure, Step as _};
use crate::guest_images::Cache;
use crate::image;
use crate::isolate::mounting::{INERT, make_directories, put, take_after};
use crate::isolate::{self, Attributes, FileSystem, LoopDevice};

/// Device nodes in an image are of no use in a container.
const ATTRIBUTES: u64 = libc::MOUNT_ATTR_NODEV;
const READ_ONLY: u64 = ATTRIBUTES | libc::MOUNT_ATTR_RDONLY;

/// Lays a writable layer over the plan's image, in this mount namespace, which is the caller's own; the
/// owners of files are shown as users of `namespace`, if there is one. Returns the mount, which is attached
/// nowhere. `room` is an empty directory, and is empty again afterwards.
pub(super) fn with_owners(
    plan: &Plan,
    namespace: Option<BorrowedFd<'_>>,
    room: &Path,
) -> Result<OwnedFd, Failure> {
    let tree = match plan.disk() {
        Some(disk) => mounted(disk, namespace)
            .step_with(|| format!("mount {} by a loop device", disk.display()))?,
        None => read_only(&plan.image, namespace)?,
    };
    let directory = furnish(room)?;
    isolate::attach(&tree, &room.join("image")).step("put the image in place")?;
    let lower = format!("/proc/self/fd/{}/image", directory.as_raw_fd());
    let root = overlay(room, &directory, &lower, &[])?;
    drop(directory);
    isolate::detach(&room.join("image")).step("let go of the image")?;
    isolate::detach(room).step("let go of the layer")?;
    Ok(root)
}

/// The image, attached nowhere, with its owners shown as users of `namespace`.
fn read_only(image: &Path, namespace: Option<BorrowedFd<'_>>) -> Result<OwnedFd, Failure> {
    let tree =
        isolate::clone_tree(None, image).step_with(|| format!("open {}", image.display()))?;
    isolate::restrict(
        &tree,
        Attributes { read_only: true, no_devices: true, ..Attributes::default() },
    )
    .step("restrict the image")?;
    let Some(namespace) = namespace else { return Ok(tree) };
    match isolate::map_owners(&tree, namespace) {
        // Its file system cannot, but that of the disk which guests get can.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => disk_of(image, namespace),
        other => {
            other.step_with(|| {
                format!("show the owners of {} as the container's", image.display())
            })?;
            Ok(tree)
        }
    }
}

/// The same from the image's disk.
fn disk_of(image: &Path, namespace: BorrowedFd<'_>) -> Result<OwnedFd, Failure> {
    let mount = || -> io::Result<OwnedFd> {
        let cache = Cache::open().map_err(io::Error::other)?;
        mounted(&image::disk(&cache, image).map_err(io::Error::other)?, Some(namespace))
    };
    mount().step_with(|| {
        format!(
            "show the owners of {} as the container's: its file system allows no idmapped mounts (as \
             ext4, xfs, btrfs and, from Linux 6.3 on, tmpfs do), nor could an ext4 of it be mounted by a \
             loop device; move the image",
            image.display()
        )
    })
}

fn mounted(disk: &Path, namespace: Option<BorrowedFd<'_>>) -> io::Result<OwnedFd> {
    let device = LoopDevice::read_only(&File::open(disk)?)?;
    let tree = FileSystem::of(c"ext4")?
        .set(c"source", &device.path().to_string_lossy())?
        .set_flag(c"ro")?
        .mount(READ_ONLY)?;
    if let Some(namespace) = namespace {
        isolate::map_owners(&tree, namespace)?;
    }
    Ok(tree)
}

/// The same for an ordinary user in a user namespace: all files are theirs. The mount goes with the
/// namespace.
pub(super) fn as_caller(image: &Path, room: &Path) -> Result<OwnedFd, Failure> {
    let directory = furnish(room)?;
    let image = File::open(image).step_with(|| format!("open {}", image.display()))?;
    let lower = format!("/proc/self/fd/{}", image.as_raw_fd());
    // In a user namespace overlayfs can keep its marks only in attributes that users may set.
    overlay(room, &directory, &lower, &[c"userxattr"])
}

/// Mounts memory there, with a directory for each part.
fn furnish(room: &Path) -> Result<File, Failure> {
    let name = room.to_string_lossy();
    put("tmpfs", "tmpfs", &name, INERT | MsFlags::MS_NOATIME, "mode=0755")?;
    make_directories(&name, &["image", "upper", "work"])?;
    File::open(room).step("open the layer")
}

fn overlay(
    room: &Path,
    directory: &File,
    lower: &str,
    flags: &[&CStr],
) -> Result<OwnedFd, Failure> {
    take_after(&room.join("upper"), Path::new(lower)).step("prepare the writable layer")?;
    let here = |name: &str| format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
    let make = || -> io::Result<OwnedFd> {
        let mut system = FileSystem::of(c"overlay")?
            .set(c"lowerdir", lower)?
            .set(c"upperdir", &here("upper"))?
            .set(c"workdir", &here("work"))?;
        for name in flags {
            system = system.set_flag(name)?;
        }
        system.mount(ATTRIBUTES)
    };
    make().step("lay a writable layer over the image (overlayfs)")
}
