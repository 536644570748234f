//! What a file is besides its content.

use std::ffi::OsStr;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat};

use super::{Directory, Links, Root, stat};
use crate::failure::{Failure, Step};
use crate::image::import::tar::{Attributes, Time};
use crate::image::import::{ImportError, limits, shown};

/// What an ordinary user's image, or any, has to do without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Device nodes that may not be made here.
    pub devices: u64,
    /// Extended attributes that may not be set here, or that an image must not have.
    pub attributes: u64,
    /// Sockets in a directory.
    pub sockets: u64,
    /// Whether files belong to the user, and not to whom the image says.
    pub owners: bool,
}

impl Root {
    /// Gives what has this name its attributes.
    pub(in crate::image::import) fn set_attributes(
        &mut self,
        parent: &Directory,
        name: &[u8],
        kind: SFlag,
        attributes: &Attributes,
    ) -> Result<(), ImportError> {
        let path = parent.child(name);
        self.set_attributes_at(parent.fd.as_fd(), name, path, kind, attributes)
    }

    /// Gives the root its attributes.
    pub(in crate::image::import) fn set_root_attributes(
        &mut self,
        attributes: &Attributes,
    ) -> Result<(), ImportError> {
        let outside = self.outside.try_clone().step("open the root's parent")?;
        let name = self.name.clone();
        let kind = SFlag::S_IFDIR;
        self.set_attributes_at(outside.as_fd(), name.as_bytes(), Vec::new(), kind, attributes)
    }

    fn set_attributes_at(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: Vec<u8>,
        kind: SFlag,
        attributes: &Attributes,
    ) -> Result<(), ImportError> {
        let step = |what: &str| format!("set the {what} of {}", shown(name));
        if !self.left_out.owners {
            let owner = (Some(Uid::from_raw(attributes.uid)), Some(Gid::from_raw(attributes.gid)));
            fchownat(parent, name, owner.0, owner.1, AtFlags::AT_SYMLINK_NOFOLLOW)
                .step_with(|| step("owner"))?;
        }
        if kind != SFlag::S_IFLNK {
            // The name is that of what has just been made: no symbolic link. After the owner, of
            // which a change takes set-user-id away.
            let mode = Mode::from_bits_truncate(attributes.mode | self.own_permissions(kind));
            fchmodat(parent, name, mode, FchmodatFlags::FollowSymlink)
                .step_with(|| step("mode"))?;
        }
        for (key, value) in &attributes.xattrs {
            self.set_xattr(parent, name, key, value).step_with(|| step("extended attributes"))?;
        }
        if kind == SFlag::S_IFDIR {
            let inode = stat(parent, name)?.map(|found| found.inode);
            return self.keep_time(path, inode.unwrap_or_default(), attributes.mtime);
        }
        Ok(set_time(parent, name, attributes.mtime).step_with(|| step("time"))?)
    }

    /// What is unpacked into a directory changes its time.
    fn keep_time(&mut self, path: Vec<u8>, inode: u64, time: Time) -> Result<(), ImportError> {
        let size = path.len();
        if self.times.insert(path, (inode, time)).is_none() {
            self.times_size += size;
        }
        if self.times_size <= limits::DIRECTORIES {
            return Ok(());
        }
        Err(ImportError::Limit {
            what: "bytes in the paths of its directories",
            limit: limits::DIRECTORIES as u64,
            remedy: "no root file system has so many; unpack it with `tar` and look what it is",
        })
    }

    /// What an ordinary user has to be allowed, to use the image and to remove it.
    fn own_permissions(&self, kind: SFlag) -> u32 {
        match kind {
            _ if !self.left_out.owners => 0,
            SFlag::S_IFDIR => 0o700,
            _ => 0o600,
        }
    }

    /// Those that mean something to the host's kernel or to overlayfs beyond the image are left out.
    fn set_xattr(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        key: &[u8],
        value: &[u8],
    ) -> io::Result<()> {
        let path = [format!("/proc/self/fd/{}/", parent.as_raw_fd()).as_bytes(), name].concat();
        let set = || xattr::set(OsStr::from_bytes(&path), OsStr::from_bytes(key), value);
        let allowed = (key.starts_with(b"user.") && !key.starts_with(b"user.overlay."))
            || key == b"security.capability"
            || key.starts_with(b"system.posix_acl_");
        let result = if allowed { set() } else { Err(io::ErrorKind::Unsupported.into()) };
        match result {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied
                ) || error.raw_os_error() == Some(libc::ENOTSUP) =>
            {
                self.left_out.attributes += 1;
                Ok(())
            }
            other => other,
        }
    }

    /// Sets the times of the directories that are still there.
    pub(in crate::image::import) fn finish(mut self) -> Result<LeftOut, Failure> {
        for (path, (inode, time)) in mem::take(&mut self.times) {
            let step = || format!("set the time of {}", shown(&path));
            let names: Vec<&[u8]> = path.split(|b| *b == b'/').filter(|n| !n.is_empty()).collect();
            let Some((name, parents)) = names.split_last() else {
                set_time(self.outside.as_fd(), self.name.as_bytes(), time).step_with(step)?;
                continue;
            };
            let parent = match self
                .open_below(&[b".".as_slice(), &parents.join(&b'/')].join(&b'/'), Links::Refused)
            {
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => continue,
                other => other.step_with(step)?,
            };
            if stat(parent.as_fd(), name)?.is_some_and(|it| it.inode == inode) {
                set_time(parent.as_fd(), name, time).step_with(step)?;
            }
        }
        Ok(self.left_out)
    }
}

fn set_time(parent: BorrowedFd<'_>, name: &[u8], time: Time) -> nix::Result<()> {
    let time = TimeSpec::new(time.seconds, time.nanoseconds.into());
    utimensat(parent, name, &time, &time, UtimensatFlags::NoFollowSymlink)
}
