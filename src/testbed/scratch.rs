//! Files without a name: nothing is left of them, whatever happens.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode;
use nix::unistd::ftruncate;

/// An empty file of this size that takes no room until it is written to: on disk where there is
/// one, in memory where /var/tmp can't hold such a file.
pub(super) fn nameless_file(size: u64) -> io::Result<OwnedFd> {
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    let file = open("/var/tmp", flags, Mode::S_IRUSR | Mode::S_IWUSR)
        .or_else(|_| memfd_create(c"duplex-scratch", MFdFlags::MFD_CLOEXEC))?;
    ftruncate(file.as_fd(), i64::try_from(size).map_err(|_| Errno::EFBIG)?)?;
    Ok(file)
}
