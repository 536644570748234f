//! The root file system that is being unpacked. Nothing here leads out of it, whatever symbolic links
//! lie in it: paths are resolved by openat2(2) as if this directory were `/`, and names are only ever
//! looked up in directories that are open.
//!
//! - `lookup`: directories, by their paths; made where they are missing
//! - `removal`: what gives way, or is taken away by a whiteout
//! - `attributes`: owners, modes, times, extended attributes

mod attributes;
mod lookup;
mod removal;

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstatat, makedev, mkdirat, mknodat};
use nix::unistd::{geteuid, linkat, symlinkat};

use super::tar::{Attributes, Device, Time};
use super::{ImportError, shown};
use crate::failure::{Failure, Step};

pub use self::attributes::LeftOut;
pub(super) use self::lookup::{Directory, Links};
pub(super) use self::removal::Added;

/// The root.
pub(super) struct Root {
    top: Rc<Directory>,
    /// The directory that the root lies in, and the root's name there.
    outside: OwnedFd,
    name: CString,
    /// The root's path, which those of all directories in it begin with.
    place: Vec<u8>,
    /// The directory that was looked up last, by what it was called.
    recent: Option<(Vec<u8>, Links, Rc<Directory>)>,
    /// When directories were changed: unpacking changes that, so it is set at the end.
    times: HashMap<Vec<u8>, (u64, Time)>,
    /// How much memory the paths in that take.
    times_size: usize,
    pub(super) left_out: LeftOut,
}

impl Root {
    /// Opens an empty directory to unpack into.
    pub(super) fn open(path: &Path) -> Result<Self, ImportError> {
        let open = || -> nix::Result<_> {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            let (parent, name) = path.parent().zip(path.file_name()).ok_or(Errno::EINVAL)?;
            let outside = openat(AT_FDCWD, parent, flags, Mode::empty())?;
            let name = CString::new(name.as_bytes()).map_err(|_| Errno::EINVAL)?;
            let fd = openat(&outside, name.as_c_str(), flags | OFlag::O_NOFOLLOW, Mode::empty())?;
            let place = lookup::real_path(fd.as_fd())?;
            Ok((outside, name, fd, place))
        };
        let (outside, name, fd, place) = open().step_with(|| format!("open {}", path.display()))?;
        let left_out = LeftOut { owners: !geteuid().is_root(), ..LeftOut::default() };
        let top = Rc::new(Directory { fd, path: Vec::new() });
        let (recent, times, times_size) = (None, HashMap::new(), 0);
        let mut root = Self { top, outside, name, place, recent, times, times_size, left_out };
        let attributes = Attributes { mode: 0o755, ..Attributes::default() };
        root.set_root_attributes(&attributes)?;
        Ok(root)
    }

    /// Makes a directory; one that is there stays, anything else gives way.
    pub(super) fn make_directory(
        &mut self,
        parent: &Directory,
        name: &[u8],
    ) -> Result<(), ImportError> {
        if stat(parent.fd.as_fd(), name)?.is_some_and(|found| found.is_directory) {
            return Ok(());
        }
        self.clear(parent, name)?;
        let made = mkdirat(&parent.fd, name, Mode::S_IRWXU);
        Ok(made.step_with(|| make_step(&parent.child(name)))?)
    }

    /// Makes an empty file in the place of whatever is there.
    pub(super) fn make_file(
        &mut self,
        parent: &Directory,
        name: &[u8],
    ) -> Result<File, ImportError> {
        self.clear(parent, name)?;
        let flags =
            OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&parent.fd, name, flags, Mode::S_IRUSR | Mode::S_IWUSR);
        Ok(file.step_with(|| make_step(&parent.child(name)))?.into())
    }

    /// Makes a symbolic link in the place of whatever is there. Where it leads does not matter here.
    pub(super) fn make_symlink(
        &mut self,
        parent: &Directory,
        name: &[u8],
        target: &[u8],
    ) -> Result<(), ImportError> {
        self.clear(parent, name)?;
        let made = symlinkat(target, &parent.fd, name);
        Ok(made.step_with(|| make_step(&parent.child(name)))?)
    }

    /// Makes a FIFO, or a device node; false where that is not allowed, and then it is counted.
    pub(super) fn make_special(
        &mut self,
        parent: &Directory,
        name: &[u8],
        kind: SFlag,
        device: Device,
    ) -> Result<bool, ImportError> {
        self.clear(parent, name)?;
        let number = makedev(device.major.into(), device.minor.into());
        match mknodat(&parent.fd, name, kind, Mode::S_IRUSR | Mode::S_IWUSR, number) {
            Err(Errno::EPERM) if kind != SFlag::S_IFIFO => {
                self.left_out.devices += 1;
                Ok(false)
            }
            other => {
                other.step_with(|| make_step(&parent.child(name)))?;
                Ok(true)
            }
        }
    }

    /// Gives a file another name, in the place of whatever has that.
    pub(super) fn make_link(
        &mut self,
        parent: &Directory,
        name: &[u8],
        target: (&Directory, &[u8]),
    ) -> Result<(), ImportError> {
        let path = parent.child(name);
        let (directory, file) = target;
        let Some(found) = stat(directory.fd.as_fd(), file)? else {
            return Err(refused(&path, "it is a hard link to what is not there"));
        };
        if found.is_directory {
            return Err(refused(&path, "it is a hard link to a directory"));
        }
        if stat(parent.fd.as_fd(), name)?.is_some_and(|own| own.inode == found.inode) {
            // The same file already.
            return Ok(());
        }
        self.clear(parent, name)?;
        let linked = linkat(&directory.fd, file, &parent.fd, name, AtFlags::empty());
        Ok(linked.step_with(|| make_step(&path))?)
    }
}

struct Found {
    inode: u64,
    is_directory: bool,
}

/// What has a name, not following it.
fn stat(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Found>, Failure> {
    let step = || format!("look at {}", shown(name));
    match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => Ok(None),
        other => {
            let stat = other.step_with(step)?;
            let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
            Ok(Some(Found { inode: stat.st_ino, is_directory: kind == SFlag::S_IFDIR }))
        }
    }
}

fn make_step(path: &[u8]) -> String {
    format!("make {}", shown(path))
}

fn refused(path: &[u8], reason: &str) -> ImportError {
    ImportError::malformed(format!("entry {}", shown(path)), reason)
}
