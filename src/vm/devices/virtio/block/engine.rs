//! How the host does a disk's work, whichever engine does it.

use std::os::fd::RawFd;

/// One thing for the host to do. The buffers must stay as they are until it has been done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation<'a> {
    Read {
        iovecs: &'a [libc::iovec],
        offset: u64,
    },
    /// With `durable`, it is done when the data is on stable storage.
    Write {
        iovecs: &'a [libc::iovec],
        offset: u64,
        durable: bool,
    },
    /// fdatasync(2).
    Flush,
    /// fallocate(2).
    Allocate {
        mode: i32,
        offset: u64,
        length: u64,
    },
}

/// What became of an operation: a system call's result, or an error number below zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) token: u32,
    pub(super) result: i64,
}

/// Does operations on one file.
pub(super) trait Engine: Send {
    /// Takes an operation. It may not begin before [`Engine::commit`].
    ///
    /// # Safety
    /// The operation's buffers, and what they point to, must stay valid until it is done.
    unsafe fn submit(&mut self, token: u32, operation: Operation<'_>);

    /// Lets everything begin that was taken.
    fn commit(&mut self);

    /// Adds what has been done since to `done`.
    fn reap(&mut self, done: &mut Vec<Done>);

    /// Becomes readable when something was done, until it was reaped and [`Engine::hear`] called.
    fn completion(&self) -> RawFd;

    /// Takes the wake-up, before what was done is reaped.
    fn hear(&self) {}

    /// Waits until something was done. Only while something is in hand.
    fn wait(&mut self);
}
