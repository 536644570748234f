//! How the host does a disk's work: io_uring where it is allowed, threads elsewhere. Both give the
//! same results.

use std::io;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::backing::Backing;
use super::threads::Threads;
use super::uring::{self, Uring};
use crate::workload::DiskEngine;

/// Why a disk has no engine.
#[derive(Debug, Error)]
pub enum Error {
    /// It was asked for io_uring, which the host refuses.
    #[error(
        "disk {}: this host has no io_uring for it ({}): leave 'engine=' away, or give \
         'engine=threads'", .0.display(), .1
    )]
    NoUring(PathBuf, #[source] io::Error),
    /// No thread left.
    #[error("the host is out of threads: {0}")]
    Thread(#[source] io::Error),
}

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

/// Which engine a disk gets, and says why in the log.
pub(super) fn choose(asked: Option<DiskEngine>, path: &Path) -> Result<DiskEngine, Error> {
    let name = path.display();
    match (asked, uring::probe()) {
        (Some(DiskEngine::IoUring), Err(error)) => Err(Error::NoUring(path.into(), error)),
        (Some(asked), _) => {
            log::info!("disk {name}: {asked}, as asked for");
            Ok(asked)
        }
        (None, Ok(())) => {
            log::info!("disk {name}: io_uring, which this host has");
            Ok(DiskEngine::IoUring)
        }
        (None, Err(error)) => {
            log::info!("disk {name}: threads, because the host refuses io_uring: {error}");
            Ok(DiskEngine::Threads)
        }
    }
}

/// Starts an engine that can have `depth` operations in hand.
pub(super) fn start(
    engine: DiskEngine,
    backing: Arc<Backing>,
    depth: u32,
) -> io::Result<Box<dyn Engine>> {
    Ok(match engine {
        DiskEngine::IoUring => Box::new(Uring::start(backing, depth)?),
        DiskEngine::Threads => Box::new(Threads::start(backing, depth)?),
    })
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
