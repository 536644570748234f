//! Which engine a disk gets: io_uring where it is allowed, threads elsewhere. Both give the same
//! results.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::backing::Backing;
use super::engine::Engine;
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
#[path = "engines_tests.rs"]
mod tests;
