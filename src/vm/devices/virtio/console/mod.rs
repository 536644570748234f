//! The console device (virtio 1.2, section 5.3): hvc0 in Linux. A terminal whose output leaves the
//! guest a buffer at a time, where a serial port needs an exit for each byte.
//!
//! It has one port: VIRTIO_CONSOLE_F_MULTIPORT is not offered.

pub mod port;
mod work;

use std::sync::Arc;

use virtio_bindings::virtio_ids::VIRTIO_ID_CONSOLE;

use self::port::Port;
use self::work::Work;
use super::event_thread::{Employed, EventThread};
use super::{ActivateError, Activation, VirtioDevice, read_space};

/// VIRTIO_CONSOLE_F_SIZE (section 5.3.3).
const SIZE: u64 = 1 << 0;
/// receiveq and transmitq (section 5.3.2).
const QUEUE_SIZES: [u16; 2] = [64, 64];

/// The device.
pub struct Console {
    port: Arc<Port>,
    thread: Arc<EventThread>,
    work: Option<Employed>,
}

impl Console {
    /// A device that is the guest's end of `port` and does its work on `thread`.
    pub fn new(port: Arc<Port>, thread: Arc<EventThread>) -> Console {
        Console { port, thread, work: None }
    }
}

impl VirtioDevice for Console {
    fn device_type(&self) -> u32 {
        VIRTIO_ID_CONSOLE
    }

    fn features(&self) -> u64 {
        // Without a window there is nothing to say.
        if self.port.size() == 0 { 0 } else { SIZE }
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    /// cols and rows (section 5.3.4); what follows belongs to features that are not offered.
    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_space(&self.port.size().to_le_bytes(), offset, data);
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        let Activation { queues, interrupt, .. } = activation;
        let mut queues = queues.into_iter();
        let (Some(receive), Some(transmit)) = (queues.next(), queues.next()) else {
            return Ok(());
        };
        // Without both there is nobody to talk to.
        if (receive.index(), transmit.index()) != (0, 1) {
            return Ok(());
        }
        let work = Work::new(receive, transmit, self.port.clone(), interrupt.clone());
        self.work = Some(self.thread.employ(Box::new(work))?);
        self.port.connect(Some(interrupt));
        Ok(())
    }

    fn reset(&mut self) {
        self.port.connect(None);
        if let Some(work) = self.work.take() {
            self.thread.dismiss(work);
        }
    }
}
