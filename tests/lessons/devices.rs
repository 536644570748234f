//! Virtio devices, and what becomes of a machine whose devices fail.

use std::sync::Arc;

use duplex::vm::boot::plan::Entry;
use duplex::vm::devices::virtio::event_thread::{Employed, EventThread, Worker, watch};
use duplex::vm::devices::virtio::queue::Virtqueue;
use duplex::vm::devices::virtio::{ActivateError, Activation, VirtioDevice};
use duplex::vm::end::{End, Failure};
use event_manager::{EventOps, Events, MutEventSubscriber};

use crate::guest_code::guest_code;
use crate::harness::Guest;

/// A device with a bug: it panics when it is kicked.
struct Panicking {
    thread: Arc<EventThread>,
    work: Option<Employed>,
}

struct Work(Virtqueue);

impl VirtioDevice for Panicking {
    fn device_type(&self) -> u32 {
        4
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &[u16] {
        &[16]
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        let queue = activation.queues.into_iter().next().unwrap();
        self.work = Some(self.thread.employ(Box::new(Work(queue)))?);
        Ok(())
    }

    fn reset(&mut self) {
        if let Some(work) = self.work.take() {
            self.thread.dismiss(work);
        }
    }
}

impl MutEventSubscriber for Work {
    fn init(&mut self, ops: &mut EventOps) {
        watch(ops, self.0.kick(), 0);
    }

    fn process(&mut self, _events: Events, _ops: &mut EventOps) {
        panic!("on purpose, for a test");
    }
}

impl Worker for Work {}

// Sets the device up with rings at 1 MiB, rings its bell and waits for ever.
guest_code!(kick:
    ".code32",
    "mov $0xD0000000, %ebx",
    "movl $1, 0x70(%ebx)", // Status: ACKNOWLEDGE
    "movl $3, 0x70(%ebx)", // DRIVER
    "movl $1, 0x24(%ebx)", // DriverFeaturesSel
    "movl $1, 0x20(%ebx)", // DriverFeatures: VIRTIO_F_VERSION_1
    "movl $11, 0x70(%ebx)", // FEATURES_OK
    "movl $16, 0x38(%ebx)", // QueueNum
    "movl $0x100000, 0x80(%ebx)", // QueueDescLow
    "movl $0x101000, 0x90(%ebx)", // QueueDriverLow
    "movl $0x102000, 0xA0(%ebx)", // QueueDeviceLow
    "movl $1, 0x44(%ebx)", // QueueReady
    "movl $15, 0x70(%ebx)", // DRIVER_OK
    "movl $0, 0x50(%ebx)", // QueueNotify
    "jmp .",
);

#[test]
fn a_panic_in_a_devices_thread_ends_the_machine() {
    let thread = Arc::new(EventThread::start("panicking").unwrap());
    let device = Box::new(Panicking { thread, work: None });
    let guest = Guest::new(kick::code(), Entry::Pvh(0x20_0000)).device(device);
    let Some(run) = guest.run() else { return };
    assert!(matches!(run.end, End::Failed(Failure::DevicePanicked)), "{:?}", run.end);
}
