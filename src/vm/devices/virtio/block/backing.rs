//! The file behind a disk: opened, measured and locked before there is a VM.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FallocateFlags, FcntlArg, OFlag, fallocate, fcntl};
use thiserror::Error;

use super::lock;

/// The unit of every address and length of a disk (virtio 1.2, section 5.2.4).
pub const SECTOR: u64 = 512;

mod ioctl {
    // Linux, include/uapi/linux/fs.h: the logical and the physical block size of a block device.
    nix::ioctl_read_bad!(blksszget, 0x1268, libc::c_int);
    nix::ioctl_read_bad!(blkpbszget, 0x127B, libc::c_uint);
}

/// Why a file cannot be a disk.
#[derive(Debug, Error)]
pub enum Error {
    /// open(2) or what follows it.
    #[error("disk {}: {}", .0.display(), .1)]
    Open(PathBuf, #[source] io::Error),
    /// No right to write.
    #[error(
        "disk {}: it may not be written by this user: change its permissions, or give ',ro'",
        .0.display()
    )]
    NotWritable(PathBuf),
    /// A directory, a pipe or the like.
    #[error("disk {}: it is {}: give a raw image file or a block device", .0.display(), .1)]
    NotADisk(PathBuf, &'static str),
    /// Less than a sector.
    #[error(
        "disk {}: it has {} bytes, less than one sector of 512: make it larger, as with 'truncate \
         -s 1G'", .0.display(), .1
    )]
    TooSmall(PathBuf, u64),
    /// Somebody else has it.
    #[error(
        "disk {}: it is in use{}: end that first{}", .0.display(), .1,
        if *.2 { "" } else { ", or give ',ro' to all of them" }
    )]
    InUse(PathBuf, String, bool),
}

/// An open disk, locked for as long as this lives.
#[derive(Debug)]
pub struct Backing {
    file: File,
    /// What of it a guest sees, in sectors.
    pub sectors: u64,
    /// Whether the guest may not write.
    pub read_only: bool,
    /// The smallest unit that it reads and writes, in bytes.
    pub logical_block: u32,
    /// The unit that it likes best.
    pub physical_block: u32,
    /// Whether holes can be made in it.
    pub punches_holes: bool,
}

impl Backing {
    /// Opens and locks a file or block device.
    ///
    /// # Errors
    /// What is wrong with it, or who has it.
    pub fn open(path: &Path, read_only: bool) -> Result<Backing, Error> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::PermissionDenied if !read_only => Error::NotWritable(path.into()),
            io::ErrorKind::ReadOnlyFilesystem => Error::NotWritable(path.into()),
            io::ErrorKind::IsADirectory => Error::NotADisk(path.into(), "a directory"),
            _ => Error::Open(path.into(), error),
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(!read_only)
            // A pipe without a writer must be an error, not a wait.
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(failed)?;
        let kind = file.metadata().map_err(failed)?.file_type();
        let what = match () {
            () if kind.is_file() || kind.is_block_device() => None,
            () if kind.is_dir() => Some("a directory"),
            () if kind.is_fifo() => Some("a pipe"),
            () => Some("neither a file nor a block device"),
        };
        if let Some(what) = what {
            return Err(Error::NotADisk(path.into(), what));
        }
        // From here on a read may wait. io_uring would give up instead, on file systems that cannot
        // tell it whether they would (FUSE).
        fcntl(&file, FcntlArg::F_SETFL(OFlag::empty())).map_err(|errno| failed(errno.into()))?;
        if !lock::lock(&file, !read_only).map_err(failed)? {
            let holders = lock::holders(file.metadata().map_err(failed)?.ino());
            return Err(Error::InUse(path.into(), holders, read_only));
        }
        let size = file.seek(SeekFrom::End(0)).map_err(failed)?;
        if size < SECTOR {
            return Err(Error::TooSmall(path.into(), size));
        }
        if size % SECTOR != 0 {
            log::warn!(
                "disk {}: the guest sees all but its last {} bytes, which are no whole sector",
                path.display(),
                size % SECTOR
            );
        }
        let (logical_block, physical_block) = block_sizes(&file, kind.is_block_device());
        let punches_holes = !read_only && punches_holes(&file, size, kind.is_block_device());
        let sectors = size / SECTOR;
        Ok(Backing { file, sectors, read_only, logical_block, physical_block, punches_holes })
    }

    /// How many bytes the guest sees.
    pub fn bytes(&self) -> u64 {
        self.sectors * SECTOR
    }
}

impl AsRawFd for Backing {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

fn block_sizes(file: &File, device: bool) -> (u32, u32) {
    let (mut logical, mut physical) = (0, 0);
    if device {
        let fd = file.as_raw_fd();
        // SAFETY: each writes one integer to where it is told, and the file is a block device.
        unsafe {
            let _ = ioctl::blksszget(fd, &raw mut logical);
            let _ = ioctl::blkpbszget(fd, &raw mut physical);
        }
    }
    let sane = |size: u32| (512..=1 << 16).contains(&size) && size.is_power_of_two();
    let logical = u32::try_from(logical).ok().filter(|size| sane(*size)).unwrap_or(512);
    // A file lies in pages.
    let physical = Some(physical).filter(|size| sane(*size)).unwrap_or(4096);
    (logical, physical.max(logical))
}

/// Tries it behind the end of a file, where a hole changes nothing. A block device makes holes, or
/// writes zeroes, by the same system call.
fn punches_holes(file: &File, size: u64, device: bool) -> bool {
    let Ok(end) = i64::try_from(size.next_multiple_of(4096)) else { return false };
    let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    device || fallocate(file, hole, end, 4096).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(bytes: u64) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk");
        File::create(&path).unwrap().set_len(bytes).unwrap();
        (directory, path)
    }

    #[test]
    fn a_file_is_measured_in_whole_sectors() {
        let (_directory, path) = image(4096 + 100);
        let backing = Backing::open(&path, false).unwrap();
        assert_eq!((backing.sectors, backing.bytes()), (8, 4096));
        assert_eq!((backing.logical_block, backing.physical_block), (512, 4096));
        let flags = OFlag::from_bits_retain(fcntl(&backing.file, FcntlArg::F_GETFL).unwrap());
        assert!(!flags.contains(OFlag::O_NONBLOCK), "requests may wait");
    }

    #[test]
    fn what_is_no_disk_is_said() {
        let (directory, path) = image(511);
        assert!(matches!(Backing::open(&path, false), Err(Error::TooSmall(_, 511))));
        for read_only in [false, true] {
            let opened = Backing::open(directory.path(), read_only);
            assert!(matches!(opened, Err(Error::NotADisk(_, "a directory"))), "{opened:?}");
        }
        let missing = Backing::open(&directory.path().join("x"), true);
        assert!(matches!(missing, Err(Error::Open(..))));
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(Backing::open(&pipe, true), Err(Error::NotADisk(_, "a pipe"))));
    }

    #[test]
    fn one_may_write_or_many_may_read_and_the_holder_is_named() {
        let (_directory, path) = image(4096);
        let writer = Backing::open(&path, false).unwrap();
        for read_only in [false, true] {
            let error = Backing::open(&path, read_only).unwrap_err().to_string();
            assert!(error.contains("in use by another disk of this guest"), "{error}");
        }
        drop(writer);
        let readers = [Backing::open(&path, true).unwrap(), Backing::open(&path, true).unwrap()];
        assert!(matches!(Backing::open(&path, false), Err(Error::InUse(..))));
        drop(readers);
        assert!(Backing::open(&path, false).is_ok());
    }
}
