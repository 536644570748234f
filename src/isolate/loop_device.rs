//! A file as a block device, loop(4).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use nix::errno::Errno;

const LOOP_CONFIGURE: libc::Ioctl = 0x4c0a;
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4c82;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// How often another process may be faster in taking the device that was free.
const ATTEMPTS: usize = 100;

/// A block device that shows a file.
#[derive(Debug)]
pub(crate) struct LoopDevice {
    path: PathBuf,
    /// The kernel lets go of the file when nobody has the device open or mounted any more.
    _open: File,
}

/// `struct loop_config`, linux/loop.h.
#[repr(C)]
struct Configuration {
    fd: u32,
    block_size: u32,
    info: Information,
    reserved: [u64; 8],
}

/// `struct loop_info64`.
#[repr(C)]
struct Information {
    numbers: [u64; 5],
    number_and_encryption: [u32; 3],
    flags: u32,
    names_and_key: [[u8; 32]; 5],
    init: [u64; 2],
}

const _: () = assert!(size_of::<Configuration>() == 304);

impl LoopDevice {
    /// Shows the file, which can only be read. There is nothing to undo: also after a SIGKILL the device
    /// is free again, once it is neither open nor mounted.
    ///
    /// # Errors
    /// `ENOENT` where the kernel has no loop devices, or /dev shows none; `EACCES`, `EPERM` for who is not
    /// root.
    pub(crate) fn read_only(file: &File) -> io::Result<LoopDevice> {
        let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
        for _ in 0..ATTEMPTS {
            // SAFETY: a plain system call on an open descriptor.
            let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
            let path = PathBuf::from(format!("/dev/loop{}", Errno::result(number)?));
            let device = File::open(&path)?;
            match configure(&device, file) {
                Err(Errno::EBUSY) => {}
                Err(error) => return Err(error.into()),
                Ok(()) => return Ok(LoopDevice { path, _open: device }),
            }
        }
        Err(Errno::EBUSY.into())
    }

    /// Its node. It shows this file as long as this value lives, and while it is mounted.
    pub(crate) fn path(&self) -> &std::path::Path {
        &self.path
    }
}

fn configure(device: &File, file: &File) -> Result<(), Errno> {
    let configuration = Configuration {
        fd: u32::try_from(file.as_raw_fd()).map_err(|_| Errno::EBADF)?,
        block_size: 0,
        info: Information {
            numbers: [0; 5],
            number_and_encryption: [0; 3],
            flags: LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR,
            names_and_key: [[0; 32]; 5],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    // SAFETY: the kernel reads the structure, which is alive and as large as it takes it to be.
    let done = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const configuration) };
    Errno::result(done).map(drop)
}
