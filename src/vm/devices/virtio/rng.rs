//! The entropy device (virtio 1.2, section 5.4): fills the driver's buffers from the host's
//! getrandom(2). The smallest device there is: a good first read.

use std::sync::Arc;
use std::time::Instant;

use event_manager::{EventOps, Events, MutEventSubscriber};
use virtio_bindings::virtio_ids::VIRTIO_ID_RNG;

use super::chain::{self, Chain};
use super::event_thread::{Employed, EventThread, Worker, watch};
use super::queue::{QueueError, Virtqueue};
use super::rate::RateLimiter;
use super::throttle::Throttle;
use super::{ActivateError, Activation, VirtioDevice};

const QUEUE_SIZES: [u16; 1] = [64];
/// The most bytes a second: a guest that asks for ever must not burn a host CPU. Linux asks for 32
/// to 64 bytes at a time, and gathers 32 to seed itself.
const BYTES_A_SECOND: u64 = 1 << 20;
/// What a request counts as at least, in bytes.
const LEAST_COST: u32 = 64;
/// The most bytes a request gets; a larger buffer comes back partly filled, as it may.
const MOST: u64 = 4096;

/// The device.
pub struct Rng {
    thread: Arc<EventThread>,
    work: Option<Employed>,
}

impl Rng {
    /// A device that does its work on `thread`.
    pub fn new(thread: Arc<EventThread>) -> Rng {
        Rng { thread, work: None }
    }
}

impl VirtioDevice for Rng {
    fn device_type(&self) -> u32 {
        VIRTIO_ID_RNG
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        let Some(queue) = activation.queues.into_iter().next() else { return Ok(()) };
        let limiter = RateLimiter::new(Some(BYTES_A_SECOND), None, Instant::now());
        let throttle = Throttle::new(limiter)
            .map_err(|error| ActivateError::Resources("file descriptors", error))?;
        let work = Work { queue, chain: Chain::default(), throttle, broken: false };
        self.work = Some(self.thread.employ(Box::new(work))?);
        Ok(())
    }

    fn reset(&mut self) {
        if let Some(work) = self.work.take() {
            self.thread.dismiss(work);
        }
    }
}

struct Work {
    queue: Virtqueue,
    chain: Chain,
    throttle: Throttle,
    broken: bool,
}

const KICK: u32 = 0;
const TIMER: u32 = 1;

impl Work {
    fn serve(&mut self) -> Result<(), QueueError> {
        loop {
            self.queue.disable_kicks()?;
            // No more than a queue's worth at a time: other devices want their turn.
            for _ in 0..self.queue.size() {
                if !self.throttle.admits() {
                    return self.queue.notify();
                }
                if !self.queue.pop(&mut self.chain)? {
                    break;
                }
                let written = self.fill();
                // A request costs something even if it gets nothing.
                self.throttle.take(written.max(LEAST_COST).into());
                self.queue.push(self.chain.head(), written)?;
            }
            self.queue.notify()?;
            if !self.queue.enable_kicks()? {
                return Ok(());
            }
        }
    }

    /// Fills the buffers, as far as they are memory; returns how many bytes that were.
    fn fill(&self) -> u32 {
        let mut written = 0;
        for buffer in chain::slice(self.chain.writable(), 0, MOST) {
            let mut random = [0; 4096];
            let Some(random) =
                usize::try_from(buffer.len).ok().and_then(|len| random.get_mut(..len))
            else {
                break;
            };
            if !host_random(random)
                || chain::write(self.queue.memory(), &[buffer], 0, random).is_none()
            {
                break;
            }
            written += buffer.len;
        }
        written
    }
}

/// Fills `bytes` from the host's random number generator, which does not wait once it was seeded.
fn host_random(bytes: &mut [u8]) -> bool {
    // SAFETY: the pointer and length are those of a live slice of bytes.
    let got =
        unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), libc::GRND_NONBLOCK) };
    usize::try_from(got).is_ok_and(|got| got == bytes.len())
}

impl MutEventSubscriber for Work {
    fn init(&mut self, ops: &mut EventOps) {
        watch(ops, self.queue.kick(), KICK);
        watch(ops, &self.throttle, TIMER);
        // A kick from before was for whoever was here then.
        self.queue.kick_self();
    }

    fn process(&mut self, events: Events, _ops: &mut EventOps) {
        match events.data() {
            TIMER => self.throttle.take_expiration(),
            _ => self.queue.take_kicks(),
        }
        if self.broken {
            return;
        }
        if let Err(error) = self.serve() {
            self.broken = true;
            self.queue.broken(&error);
        }
    }
}

impl Worker for Work {}
