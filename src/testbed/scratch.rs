//! Files without a name: nothing is left of them, whatever happens.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::ftruncate;

/// An empty file of this size that takes no room until it is written to: on disk where there is
/// one, in memory where /var/tmp can't hold such a file.
pub(super) fn nameless_file(size: u64) -> io::Result<OwnedFd> {
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    let file = open("/var/tmp", flags, Mode::empty())
        .or_else(|_| memfd_create(c"duplex-scratch", MFdFlags::MFD_CLOEXEC))?;
    // Nobody can find it: the mode only decides who may open a descriptor of it anew.
    fchmod(file.as_fd(), Mode::from_bits_truncate(0o666))?;
    ftruncate(file.as_fd(), i64::try_from(size).map_err(|_| Errno::EFBIG)?)?;
    Ok(file)
}
