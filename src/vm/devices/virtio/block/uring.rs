//! The io_uring engine.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use io_uring::{IoUring, Probe, opcode, squeue, types};

use super::backing::Backing;
use super::engine::{Done, Engine, Operation};

/// What it needs of the host's kernel (all there since Linux 5.6).
const OPERATIONS: [u8; 4] =
    [opcode::Readv::CODE, opcode::Writev::CODE, opcode::Fsync::CODE, opcode::Fallocate::CODE];

/// A ring on one file.
pub(super) struct Uring {
    ring: IoUring,
    backing: Arc<Backing>,
}

/// Whether this host lets us have a ring.
pub(super) fn probe() -> io::Result<()> {
    let ring = IoUring::new(8)?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    if OPERATIONS.iter().all(|code| probe.is_supported(*code)) {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::Unsupported, "the kernel lacks operations"))
    }
}

impl Uring {
    pub(super) fn start(backing: Arc<Backing>, depth: u32) -> io::Result<Uring> {
        let ring = IoUring::new(depth.max(1))?;
        Ok(Uring { ring, backing })
    }

    fn entry(&self, operation: Operation<'_>) -> squeue::Entry {
        let file = types::Fd(self.backing.as_raw_fd());
        let count = |iovecs: &[libc::iovec]| u32::try_from(iovecs.len()).unwrap_or(0);
        match operation {
            Operation::Read { iovecs, offset } => {
                opcode::Readv::new(file, iovecs.as_ptr(), count(iovecs)).offset(offset).build()
            }
            Operation::Write { iovecs, offset, durable } => {
                opcode::Writev::new(file, iovecs.as_ptr(), count(iovecs))
                    .offset(offset)
                    .rw_flags(if durable { libc::RWF_DSYNC } else { 0 })
                    .build()
            }
            Operation::Flush => opcode::Fsync::new(file).flags(types::FsyncFlags::DATASYNC).build(),
            Operation::Allocate { mode, offset, length } => {
                opcode::Fallocate::new(file, length).offset(offset).mode(mode).build()
            }
        }
    }
}

impl Engine for Uring {
    unsafe fn submit(&mut self, token: u32, operation: Operation<'_>) {
        let entry = self.entry(operation).user_data(token.into());
        loop {
            // SAFETY: the caller keeps the buffers valid, and the file is open as long as the ring.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                return;
            }
            // Full: there are as many places as operations can be in hand, but those that were
            // taken and not committed yet have theirs as well.
            self.commit();
        }
    }

    fn commit(&mut self) {
        while !self.ring.submission().is_empty() {
            match self.ring.submit() {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The kernel is out of something for a moment: it has more when operations end.
                Err(error) => {
                    log::debug!("io_uring: {error}");
                    std::thread::yield_now();
                }
            }
        }
    }

    fn reap(&mut self, done: &mut Vec<Done>) {
        done.extend(self.ring.completion().map(|entry| Done {
            token: u32::try_from(entry.user_data()).unwrap_or(u32::MAX),
            result: entry.result().into(),
        }));
    }

    /// The ring itself: readable while there are completions. What is done at once is reaped before
    /// anybody looks, and so wakes nobody, as an eventfd would.
    fn completion(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    fn wait(&mut self) {
        while let Err(error) = self.ring.submit_and_wait(1) {
            if error.kind() != io::ErrorKind::Interrupted {
                log::debug!("io_uring: {error}");
                std::thread::yield_now();
            }
        }
    }
}
