//! Waiting for whichever of several descriptors has something to say, poll(2).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The descriptors to wait for, each with a value that tells the caller which it was.
pub(crate) struct Poll<'fd, T> {
    fds: Vec<PollFd<'fd>>,
    tokens: Vec<T>,
}

/// What has happened to a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready(PollFlags);

impl Ready {
    /// A read returns at once: with data, the end, or an error.
    pub(crate) fn readable(self) -> bool {
        self.0.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR)
    }

    /// A write returns at once: with progress or an error.
    pub(crate) fn writable(self) -> bool {
        self.0.intersects(PollFlags::POLLOUT | PollFlags::POLLHUP | PollFlags::POLLERR)
    }

    /// Nobody is at the other end.
    pub(crate) fn hung_up(self) -> bool {
        self.0.intersects(PollFlags::POLLHUP | PollFlags::POLLERR)
    }
}

impl<'fd, T> Poll<'fd, T> {
    pub(crate) fn new() -> Self {
        Self { fds: Vec::new(), tokens: Vec::new() }
    }

    /// Waits for `fd` too: to be readable, writable, or with neither to be hung up.
    pub(crate) fn add(&mut self, token: T, fd: &'fd impl AsFd, read: bool, write: bool) {
        self.add_fd(token, fd.as_fd(), read, write);
    }

    /// The same for a descriptor that is borrowed already.
    pub(crate) fn add_fd(&mut self, token: T, fd: BorrowedFd<'fd>, read: bool, write: bool) {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::POLLIN, read);
        flags.set(PollFlags::POLLOUT, write);
        self.fds.push(PollFd::new(fd, flags));
        self.tokens.push(token);
    }

    /// Waits, at most for `limit`. An empty answer means that the limit has passed.
    pub(crate) fn wait(mut self, limit: Option<Duration>) -> io::Result<Vec<(T, Ready)>> {
        let timeout = match limit {
            None => PollTimeout::NONE,
            Some(limit) => PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX),
        };
        loop {
            match poll(&mut self.fds, timeout) {
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => break,
            }
        }
        let flags = self.fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        let happened = self.tokens.into_iter().zip(flags).filter(|(_, flags)| !flags.is_empty());
        Ok(happened.map(|(token, flags)| (token, Ready(flags))).collect())
    }
}

/// Makes reads and writes on `fd` return instead of wait. Not for descriptors that are shared with
/// other programs: the setting belongs to the open file.
pub(crate) fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_retain(fcntl(fd.as_fd(), FcntlArg::F_GETFL)?);
    fcntl(fd.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}
