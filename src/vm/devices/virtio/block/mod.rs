//! The block device (virtio 1.2, section 5.2) on a raw file or block device of the host.
//!
//! | file | idea |
//! |---|---|
//! | `backing` | the file: opened, measured, locked |
//! | `config` | features and the configuration space |
//! | `request` | what the driver asks for, as a value |
//! | `engine`, `uring`, `threads`, `engines` | how the host does it, and which of them a disk gets |
//! | `slot`, `work` | requests in hand, queues, completions |

pub mod backing;
mod config;
mod engine;
pub mod engines;
mod lock;
mod request;
mod slot;
mod threads;
mod uring;
mod work;

use std::io;
use std::sync::Arc;
use std::time::Instant;

use nix::sys::signal::{SigHandler, Signal, signal};
use virtio_bindings::virtio_ids::VIRTIO_ID_BLOCK;

use super::event_thread::{Employed, EventThread};
use super::rate::RateLimiter;
use super::throttle::Throttle;
use super::{ActivateError, Activation, VirtioDevice, read_space};
use crate::workload::{Disk, DiskEngine};
use backing::Backing;
use work::Work;

/// How many requests each queue holds.
const QUEUE_SIZE: u16 = 256;

/// A disk.
pub struct Block {
    // Before the backing, whose lock must outlast all work.
    thread: EventThread,
    work: Option<Employed>,
    backing: Arc<Backing>,
    engine: DiskEngine,
    id: [u8; request::ID_BYTES],
    queue_sizes: Vec<u16>,
    features: u64,
    space: [u8; config::SIZE],
    limits: (Option<u64>, Option<u64>),
}

impl Block {
    /// The disk number `number` of the machine, on a file that was opened for it.
    ///
    /// # Errors
    /// No thread left, or the engine that was asked for is not there.
    pub fn new(disk: &Disk, number: usize, backing: Backing) -> Result<Block, engines::Error> {
        let engine = engines::choose(disk.engine, &disk.path)?;
        ignore_file_size_limit();
        let name = format!("disk{number}");
        let thread = EventThread::start(&name).map_err(engines::Error::Thread)?;
        let mut id = [0; request::ID_BYTES];
        for (byte, character) in id.iter_mut().zip(disk.id.as_deref().unwrap_or(&name).bytes()) {
            *byte = character;
        }
        Ok(Block {
            thread,
            work: None,
            features: config::features(&backing, disk.queues),
            space: config::space(&backing, disk.queues, QUEUE_SIZE),
            backing: Arc::new(backing),
            engine,
            id,
            queue_sizes: vec![QUEUE_SIZE; disk.queues.into()],
            limits: (disk.bytes_per_second, disk.operations_per_second),
        })
    }
}

/// A write beyond RLIMIT_FSIZE is to fail like any other, not to end the process by SIGXFSZ.
fn ignore_file_size_limit() {
    // SAFETY: no handler is installed; ignoring a signal runs no code.
    if let Err(error) = unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) } {
        log::debug!("virtio-blk: SIGXFSZ cannot be ignored: {error}");
    }
}

impl VirtioDevice for Block {
    fn device_type(&self) -> u32 {
        VIRTIO_ID_BLOCK
    }

    fn features(&self) -> u64 {
        self.features
    }

    fn queue_sizes(&self) -> &[u16] {
        &self.queue_sizes
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_space(&self.space, offset, data);
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        let descriptors = |error: io::Error| ActivateError::Resources("file descriptors", error);
        let (bytes, operations) = self.limits;
        let limiter = RateLimiter::new(bytes, operations, Instant::now());
        let throttle = Throttle::new(limiter).map_err(descriptors)?;
        let depth = activation.queues.iter().map(|queue| u32::from(queue.size())).sum();
        let engine =
            engines::start(self.engine, self.backing.clone(), depth).map_err(descriptors)?;
        let work = Work::new(activation, engine, throttle, self.backing.clone(), self.id);
        self.work = Some(self.thread.employ(Box::new(work))?);
        Ok(())
    }

    fn reset(&mut self) {
        if let Some(work) = self.work.take() {
            self.thread.dismiss(work);
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.reset();
    }
}
