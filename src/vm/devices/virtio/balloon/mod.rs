//! The memory balloon (virtio 1.2, section 5.5): pages that the guest lends to the host, and pages
//! that it reports as free. Either way the host gets the memory back at once.

pub mod control;
mod work;

use std::sync::{Arc, Mutex};

use virtio_bindings::virtio_ids::VIRTIO_ID_BALLOON;

use self::control::Control;
use self::work::Work;
use super::event_thread::{Employed, EventThread};
use super::queue::has;
use super::{ActivateError, Activation, VirtioDevice, read_space};
use crate::vm::reclaim::Reclaim;

/// VIRTIO_BALLOON_F_* (section 5.5.3).
const STATS_VQ: u32 = 1;
const DEFLATE_ON_OOM: u32 = 2;
const PAGE_REPORTING: u32 = 5;

/// Inflate, deflate, statistics, reporting (section 5.5.2); there is no queue for hints in between.
/// Linux reports up to 32 ranges at once, and needs as many descriptors.
const QUEUE_SIZES: [u16; 4] = [128, 128, 16, 64];

/// The device.
pub struct Balloon {
    control: Arc<Control>,
    reclaim: Arc<Mutex<Reclaim>>,
    thread: Arc<EventThread>,
    work: Option<Employed>,
}

impl Balloon {
    /// A device that does its work on `thread`: best one of its own, for the host may take its time
    /// to take memory back.
    pub fn new(control: Arc<Control>, reclaim: Reclaim, thread: Arc<EventThread>) -> Balloon {
        Balloon { control, reclaim: Arc::new(Mutex::new(reclaim)), thread, work: None }
    }
}

impl VirtioDevice for Balloon {
    fn device_type(&self) -> u32 {
        VIRTIO_ID_BALLOON
    }

    fn features(&self) -> u64 {
        1 << STATS_VQ | 1 << DEFLATE_ON_OOM | 1 << PAGE_REPORTING
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    /// num_pages and actual (section 5.5.4); what follows belongs to features that are not offered.
    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let [a, b, c, d] = self.control.target().to_le_bytes();
        let [e, f, g, h] = self.control.actual().to_le_bytes();
        read_space(&[a, b, c, d, e, f, g, h], offset, data);
    }

    fn write_config(&mut self, offset: u64, data: &[u8]) {
        if let (4, Ok(actual)) = (offset, data.try_into()) {
            self.control.set_actual(u32::from_le_bytes(actual));
        }
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        let statistics = has(activation.features, STATS_VQ).then_some(2);
        // Queues of features that were not accepted do not exist, and do not count.
        let reporting = has(activation.features, PAGE_REPORTING)
            .then_some(if statistics.is_some() { 3 } else { 2 });
        let (control, reclaim) = (self.control.clone(), self.reclaim.clone());
        let work = Work::new(activation.queues, (statistics, reporting), control, reclaim);
        self.work = Some(self.thread.employ(Box::new(work))?);
        self.control.connect(Some(activation.interrupt));
        Ok(())
    }

    fn reset(&mut self) {
        self.control.connect(None);
        self.control.set_actual(0);
        if let Some(work) = self.work.take() {
            self.thread.dismiss(work);
        }
    }
}
