//! Virtio devices (virtio 1.2) on the MMIO transport. docs/virtio.md tells how one is added.
//!
//! | file | idea |
//! |---|---|
//! | `registers` | the transport's register machine: pure, without devices or threads |
//! | `mmio` | the transport on the bus: registers, a device and its interrupt put together |
//! | `names` | what devices and registers are called |
//! | `interrupt` | what a device tells its driver |
//! | `queue`, `chain` | a virtqueue, and what the driver put into it, checked |
//! | `event_thread` | where devices do their work |
//! | `rate`, `throttle` | token buckets, and a timer that says when there are tokens again |
//! | `iovecs` | guest memory as the host's system calls take it |
//! | `vhost_user` | a device whose work another program does |
//! | `block`, `net`, `rng`, `vsock`, `console`, `balloon`, `fs` | the devices |

pub mod balloon;
pub mod block;
pub mod chain;
pub mod console;
pub mod event_thread;
pub mod fs;
pub mod interrupt;
mod iovecs;
pub mod mmio;
mod names;
pub mod net;
pub mod queue;
mod queue_error;
pub mod rate;
mod registers;
pub mod rng;
pub mod throttle;
pub mod vhost_user;
pub mod vsock;

use std::io;
use std::sync::Arc;

use thiserror::Error;
use vm_memory::GuestMemoryMmap;

use interrupt::Interrupt;
use queue::Virtqueue;

/// A virtio device without its transport: what it is, and how its work is started and stopped.
///
/// All calls come from the transport, under its lock, one at a time, from vCPU threads. So none may
/// wait for the guest; [`VirtioDevice::reset`] alone may wait, for work that the host has in hand.
/// The work itself is done elsewhere: on an [`event_thread::EventThread`].
pub trait VirtioDevice: Send {
    /// The device's type (virtio 1.2, section 5).
    fn device_type(&self) -> u32;

    /// The features of its type that it offers. The transport adds what every device here has:
    /// VIRTIO_F_VERSION_1, VIRTIO_F_INDIRECT_DESC and VIRTIO_F_EVENT_IDX.
    fn features(&self) -> u64;

    /// How large each of its queues may be: powers of two.
    fn queue_sizes(&self) -> &[u16];

    /// Whether another program does its work, which then needs the guest's memory: all of it has to be
    /// one shared file.
    fn shares_memory(&self) -> bool {
        false
    }

    /// Fills `data` from the configuration space; zeroes behind its end. A device that changes the
    /// space says so by [`Interrupt::configuration_changed`].
    fn read_config(&self, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    /// Takes `data` into the configuration space, as far as it can be written.
    fn write_config(&mut self, _offset: u64, _data: &[u8]) {}

    /// The driver is ready (DRIVER_OK): starts the device's work.
    ///
    /// # Errors
    /// What the host lacks; the driver sees DEVICE_NEEDS_RESET.
    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError>;

    /// Stops all work at whatever moment and lets go of everything that
    /// [`VirtioDevice::activate`] gave: when this returns, nothing reads or writes guest memory or
    /// raises an interrupt any more. What the host has in hand is waited for; what has not begun is
    /// forgotten. Does nothing to a device that is not active.
    fn reset(&mut self);
}

/// What a device works with while it is active.
pub struct Activation {
    /// The guest's memory.
    pub memory: GuestMemoryMmap,
    /// The queues that the driver has made ready, by ascending index, each with its bell.
    pub queues: Vec<Virtqueue>,
    /// The device's interrupt.
    pub interrupt: Arc<Interrupt>,
    /// The features that both sides agreed on.
    pub features: u64,
}

/// Why a device cannot start its work.
#[derive(Debug, Error)]
pub enum ActivateError {
    /// The thread that is to do the work has ended.
    #[error("its thread does not take it: {0}")]
    Thread(#[from] event_manager::Error),
    /// The program that is to do the work.
    #[error(transparent)]
    BackEnd(#[from] vhost_user::Error),
    /// No file descriptor or the like left.
    #[error("the host is out of {0}: {1}")]
    Resources(&'static str, #[source] io::Error),
}

/// Fills `data` from the bytes of a configuration space, with zeroes behind their end.
pub fn read_space(space: &[u8], offset: u64, data: &mut [u8]) {
    data.fill(0);
    let rest = usize::try_from(offset).ok().and_then(|offset| space.get(offset..));
    for (byte, value) in data.iter_mut().zip(rest.unwrap_or_default()) {
        *byte = *value;
    }
}
