//! Mounts: copies of trees with fewer rights, put where they are wanted.
//!
//! The calls that work on descriptors (open_tree(2), mount_setattr(2), move_mount(2)) come first:
//! a tree is copied, restricted while it is attached nowhere, and only then becomes visible, so
//! there is no moment in which it can be reached with more rights than meant.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// The target is the open directory itself, move_mount(2).
const MOVE_MOUNT_T_EMPTY_PATH: libc::c_uint = 0x40;

/// The mount that a descriptor is of, and all below it.
const WHOLE_TREE: libc::c_int = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;

/// Rights to take away from mounts. Those not named stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// No writing through the mount.
    pub read_only: bool,
    /// Set-user-id bits and file capabilities have no effect.
    pub no_suid: bool,
    /// Device nodes can't be opened.
    pub no_devices: bool,
}

impl Attributes {
    fn bits(self) -> u64 {
        [
            (self.read_only, libc::MOUNT_ATTR_RDONLY),
            (self.no_suid, libc::MOUNT_ATTR_NOSUID),
            (self.no_devices, libc::MOUNT_ATTR_NODEV),
        ]
        .into_iter()
        .fold(0, |bits, (wanted, bit)| if wanted { bits | bit } else { bits })
    }
}

/// Copies the mount at `path`, with everything mounted below it, into a tree that is attached
/// nowhere. `path` is resolved relative to `dir` when given.
pub fn clone_tree(dir: Option<BorrowedFd<'_>>, path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let flags = libc::OPEN_TREE_CLONE
        | libc::OPEN_TREE_CLOEXEC
        | libc::AT_RECURSIVE.unsigned_abs()
        | libc::AT_EMPTY_PATH.unsigned_abs();
    let dir = dir.map_or(libc::AT_FDCWD, |dir| dir.as_raw_fd());
    // SAFETY: the path is a live NUL-terminated string and the call touches no other memory.
    let fd =
        Errno::result(unsafe { libc::syscall(libc::SYS_open_tree, dir, path.as_ptr(), flags) })?;
    owned(fd)
}

/// Takes rights away from a whole tree of mounts that [`clone_tree`] made, and cuts it off from
/// the host: nothing that is mounted there later shows up in it.
pub fn restrict(tree: impl AsFd, attributes: Attributes) -> io::Result<()> {
    set_attributes(
        tree,
        &libc::mount_attr {
            attr_set: attributes.bits(),
            attr_clr: 0,
            propagation: libc::MS_PRIVATE,
            userns_fd: 0,
        },
        WHOLE_TREE,
    )
}

/// Forbids writing through the mount whose root this is, and no other.
pub fn make_read_only(root: impl AsFd) -> io::Result<()> {
    let read_only = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    set_attributes(root, &read_only, libc::AT_EMPTY_PATH)
}

/// Shows the files of a tree that [`clone_tree`] made as if their owners' numbers were those inside a
/// user namespace: files of user 0 are those of its root. Who writes there as its root makes files of
/// user 0.
///
/// # Errors
/// `EINVAL` where the file system cannot do this.
pub fn map_owners(tree: impl AsFd, user_namespace: impl AsFd) -> io::Result<()> {
    let namespace = user_namespace.as_fd().as_raw_fd();
    set_attributes(
        tree,
        &libc::mount_attr {
            attr_set: libc::MOUNT_ATTR_IDMAP,
            attr_clr: 0,
            propagation: 0,
            userns_fd: u64::try_from(namespace).map_err(|_| Errno::EBADF)?,
        },
        WHOLE_TREE,
    )
}

fn set_attributes(
    tree: impl AsFd,
    wanted: &libc::mount_attr,
    flags: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the empty path and the attribute struct are alive during the call, and the size
    // passed is that of the struct.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(wanted),
            size_of::<libc::mount_attr>(),
        )
    })?;
    Ok(())
}

/// Puts a tree that [`clone_tree`] made over `target`. A directory needs a directory there, a file
/// a file.
pub fn attach(tree: impl AsFd, target: &Path) -> io::Result<()> {
    attach_at(tree, None, target)
}

/// As [`attach`], over an open directory.
pub fn attach_over(tree: impl AsFd, target: BorrowedFd<'_>) -> io::Result<()> {
    attach_at(tree, Some(target), Path::new(""))
}

fn attach_at(tree: impl AsFd, dir: Option<BorrowedFd<'_>>, target: &Path) -> io::Result<()> {
    let empty = if dir.is_some() { MOVE_MOUNT_T_EMPTY_PATH } else { 0 };
    let dir = dir.map_or(libc::AT_FDCWD, |dir| dir.as_raw_fd());
    let target = c_path(target)?;
    // SAFETY: both paths are live NUL-terminated strings and the call touches no other memory.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_fd().as_raw_fd(),
            c"".as_ptr(),
            dir,
            target.as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH | empty,
        )
    })?;
    Ok(())
}

/// Makes the file or directory at `source`, with everything mounted below, visible at `target`
/// too.
pub fn bind(source: &Path, target: &Path) -> io::Result<()> {
    attach(clone_tree(None, source)?, target)
}

/// From now on this mount namespace still sees what the host mounts, but the host nothing of what
/// is mounted here.
pub fn follow_only() -> io::Result<()> {
    Ok(mount(None::<&str>, "/", None::<&str>, MsFlags::MS_SLAVE | MsFlags::MS_REC, None::<&str>)?)
}

/// Mounts an empty file system that lives in memory, without devices and set-user-id programs;
/// an `attributes.read_only` one stays empty.
pub fn tmpfs(target: &Path, attributes: Attributes) -> io::Result<()> {
    let mut flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    if attributes.read_only {
        flags |= MsFlags::MS_RDONLY;
    }
    tmpfs_with(target, flags, "mode=0755")
}

/// Mounts an empty file system that lives in memory; `options` as in tmpfs(5).
pub fn tmpfs_with(target: &Path, flags: MsFlags, options: &str) -> io::Result<()> {
    Ok(mount(Some("tmpfs"), target, Some("tmpfs"), flags, Some(options))?)
}

/// Takes the mount at `target` out of sight at once; it ends when nobody uses it any more.
pub fn detach(target: &Path) -> io::Result<()> {
    Ok(umount2(target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)?)
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL.into())
}

fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just returned this descriptor, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_the_kernels_bits() {
        let all = Attributes { read_only: true, no_suid: true, no_devices: true };
        assert_eq!(all.bits(), 0b111);
        assert_eq!(Attributes::default().bits(), 0);
    }

    #[test]
    fn a_path_with_a_nul_is_refused() {
        use std::os::unix::ffi::OsStrExt;
        let path = Path::new(std::ffi::OsStr::from_bytes(b"/a\0b"));
        assert_eq!(clone_tree(None, path).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
