//! A directory with a root file system, copied. What is mounted in it is left out: an empty directory
//! stands for it.

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, major, minor};
use nix::unistd::{Whence, lseek};

use super::blob::Unpacking;
use super::root::Links;
use super::tar::{Attributes, Device, Time};
use super::{ImportError, limits, shown};
use crate::failure::Step;

/// Copies what is in the directory, but for the store if that lies in it.
pub(super) fn copy(
    source: &Path,
    store: &Path,
    unpacking: &mut Unpacking,
) -> Result<(), ImportError> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory = Dir::openat(AT_FDCWD, source, flags, Mode::empty());
    let directory = directory.step_with(|| format!("open {}", source.display()))?;
    let stat = fstat(&directory).step("look at the source")?;
    let store = nix::sys::stat::stat(store).ok().map(|stat| (stat.st_dev, stat.st_ino));
    let device = stat.st_dev;
    let mut copier = Copier { unpacking, device, store, links: HashMap::new() };
    copier.below(directory, &mut Vec::new())?;
    // As the last, for its time.
    let attributes = attributes(&stat, source.as_os_str().as_bytes())?;
    copier.unpacking.root.set_root_attributes(&attributes)
}

struct Copier<'a> {
    unpacking: &'a mut Unpacking,
    device: u64,
    store: Option<(u64, u64)>,
    /// Files that have several names, and the first of them.
    links: HashMap<u64, Vec<Vec<u8>>>,
}

impl Copier<'_> {
    fn below(&mut self, mut source: Dir, path: &mut Vec<Vec<u8>>) -> Result<(), ImportError> {
        if path.len() > limits::DEPTH {
            let what = format!("directory {}", shown(&path.join(&b'/')));
            return Err(ImportError::malformed(what, "is more than 256 directories deep"));
        }
        let names = source.iter().map(|entry| Ok(entry?.file_name().to_owned()));
        let names = names.collect::<nix::Result<Vec<CString>>>();
        let names = names.step_with(|| format!("read {}", shown(&path.join(&b'/'))))?;
        for name in names.iter().map(|name| name.as_bytes()) {
            if !matches!(name, b"." | b"..") {
                path.push(name.to_vec());
                self.entry(source.as_fd(), name, path)?;
                path.pop();
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        source: BorrowedFd<'_>,
        name: &[u8],
        path: &mut Vec<Vec<u8>>,
    ) -> Result<(), ImportError> {
        let whole = path.join(&b'/');
        let step = |what: &str| format!("{what} {}", shown(&whole));
        let stat = fstatat(source, name, AtFlags::AT_SYMLINK_NOFOLLOW);
        let stat = stat.step_with(|| step("look at"))?;
        self.unpacking.budget.take_entry()?;
        let root = &mut self.unpacking.root;
        let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
        let parents: Vec<&[u8]> = path.iter().take(path.len() - 1).map(|name| &**name).collect();
        let parent = root.find(&parents, Links::Refused)?;
        let parent = parent.ok_or(Errno::ENOENT).step_with(|| step("find the directory of"))?;
        if kind != SFlag::S_IFDIR && stat.st_nlink > 1 && kind != SFlag::S_IFSOCK {
            if let Some(first) = self.links.get(&stat.st_ino) {
                let first: Vec<&[u8]> = first.iter().map(|name| &**name).collect();
                let (file, parents) = first.split_last().ok_or(Errno::ENOENT).step("link")?;
                if let Some(directory) = root.find(parents, Links::Refused)? {
                    return root.make_link(&parent, name, (&directory, file));
                }
            }
            self.links.insert(stat.st_ino, path.clone());
        }
        let in_source =
            [format!("/proc/self/fd/{}/", source.as_raw_fd()).as_bytes(), name].concat();
        let attributes = attributes(&stat, &in_source)?;
        match kind {
            SFlag::S_IFDIR => {
                if self.store == Some((stat.st_dev, stat.st_ino)) {
                    return Ok(());
                }
                root.make_directory(&parent, name)?;
                root.set_attributes(&parent, name, kind, &attributes)?;
                if stat.st_dev == self.device {
                    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                    let opened = Dir::openat(source, name, flags, Mode::empty());
                    self.below(opened.step_with(|| step("open"))?, path)?;
                }
                return Ok(());
            }
            SFlag::S_IFREG => {
                let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let opened = openat(source, name, flags | OFlag::O_NONBLOCK, Mode::empty());
                let from = File::from(opened.step_with(|| step("open"))?);
                let size = u64::try_from(stat.st_size).unwrap_or_default();
                self.unpacking.budget.take_size(size)?;
                let to = root.make_file(&parent, name)?;
                copy_file(&from, &to, size).step_with(|| step("copy"))?;
            }
            SFlag::S_IFLNK => {
                let target = readlinkat(source, name).step_with(|| step("read"))?;
                root.make_symlink(&parent, name, &target.into_vec())?;
            }
            SFlag::S_IFSOCK => {
                root.left_out.sockets += 1;
                return Ok(());
            }
            _ => {
                let number = |number: u64| u32::try_from(number).unwrap_or_default();
                let device = Device {
                    major: number(major(stat.st_rdev)),
                    minor: number(minor(stat.st_rdev)),
                };
                if !root.make_special(&parent, name, kind, device)? {
                    return Ok(());
                }
            }
        }
        root.set_attributes(&parent, name, kind, &attributes)
    }
}

/// What a file has, at a path of which the last name is not followed.
fn attributes(stat: &FileStat, path: &[u8]) -> Result<Attributes, ImportError> {
    let path = OsStr::from_bytes(path);
    let read = || -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut all = Vec::new();
        for name in xattr::list(path)? {
            if let Some(value) = xattr::get(path, &name)? {
                all.push((name.into_vec(), value));
            }
        }
        Ok(all)
    };
    let xattrs = match read() {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Vec::new(),
        other => other.step("read extended attributes")?,
    };
    Ok(Attributes {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Time {
            seconds: stat.st_mtime,
            nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or_default(),
        },
        xattrs,
    })
}

/// Copies what a file holds into an empty one, holes as holes.
fn copy_file(mut from: &File, mut to: &File, size: u64) -> io::Result<()> {
    to.set_len(size)?;
    let mut at = 0;
    while at < size {
        let offset = |at: u64| i64::try_from(at).map_err(|_| Errno::EFBIG);
        let data = match lseek(from, offset(at)?, Whence::SeekData) {
            // Nothing but a hole follows.
            Err(Errno::ENXIO) => return Ok(()),
            other => u64::try_from(other?).unwrap_or_default(),
        };
        let hole = u64::try_from(lseek(from, offset(data)?, Whence::SeekHole)?).unwrap_or_default();
        from.seek(SeekFrom::Start(data))?;
        to.seek(SeekFrom::Start(data))?;
        let length = hole.min(size).saturating_sub(data);
        if io::copy(&mut from.take(length), &mut to)? < length {
            return Err(io::Error::other("it became shorter meanwhile"));
        }
        at = hole;
    }
    Ok(())
}
