//! The socket device (virtio 1.2, section 5.10): streams between programs in the guest and programs
//! on the host, without a network.
//!
//! | file | idea |
//! |---|---|
//! | `packet` | a packet's header |
//! | `credit` | flow control, both ways |
//! | `connection` | one stream |
//! | `switch` | all of them: which is meant, whose turn it is |
//! | `listener`, `front` | where streams come from and lead to on the host |
//! | `work` | packets in and out of the queues |

mod connection;
pub mod credit;
pub mod front;
pub mod listener;
pub mod packet;
pub mod switch;
mod work;

use std::sync::Arc;

use virtio_bindings::virtio_ids::VIRTIO_ID_VSOCK;

use self::front::Front;
use self::switch::Switch;
use self::work::Work;
use super::event_thread::{Employed, EventThread};
use super::{ActivateError, Activation, VirtioDevice, read_space};

/// Receive, transmit and event (section 5.10.2). Nothing happens here that the last would tell.
const QUEUE_SIZES: [u16; 3] = [256, 256, 16];
/// VIRTIO_VSOCK_F_STREAM (section 5.10.3).
const STREAM: u64 = 1 << 0;

/// The device.
pub struct Vsock {
    guest_cid: u64,
    front: Arc<Front>,
    thread: Arc<EventThread>,
    work: Option<Employed>,
}

impl Vsock {
    /// A device that is the guest's address `guest_cid` and does its work on `thread`. Whoever keeps
    /// the front can hand over sockets, also while the guest runs.
    pub fn new(guest_cid: u32, front: Arc<Front>, thread: Arc<EventThread>) -> Vsock {
        Vsock { guest_cid: guest_cid.into(), front, thread, work: None }
    }
}

impl VirtioDevice for Vsock {
    fn device_type(&self) -> u32 {
        VIRTIO_ID_VSOCK
    }

    fn features(&self) -> u64 {
        STREAM
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_space(&self.guest_cid.to_le_bytes(), offset, data);
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        let mut queues = activation.queues.into_iter();
        let (Some(rx), Some(tx)) = (queues.next(), queues.next()) else { return Ok(()) };
        // Without both there is nobody to talk to.
        if (rx.index(), tx.index()) != (0, 1) {
            return Ok(());
        }
        let switch = Switch::new(self.guest_cid, self.front.clone())
            .map_err(|error| ActivateError::Resources("file descriptors", error))?;
        self.work = Some(self.thread.employ(Box::new(Work::new(rx, tx, switch)))?);
        Ok(())
    }

    fn reset(&mut self) {
        if let Some(work) = self.work.take() {
            self.thread.dismiss(work);
        }
    }
}
