//! A back end's interrupts, passed on to the driver.
//!
//! The back end rings an eventfd. It cannot be the interrupt line itself: on the MMIO transport the driver
//! asks InterruptStatus for the reason first (virtio 1.2, section 4.2.2), and that is the transport's.

use std::sync::Arc;

use event_manager::{EventOps, Events, MutEventSubscriber};
use vmm_sys_util::eventfd::EventFd;

use crate::vm::devices::virtio::event_thread::{Worker, watch};
use crate::vm::devices::virtio::interrupt::Interrupt;
use crate::vm::devices::virtio::queue::Virtqueue;

pub(super) struct Calls {
    /// Nothing is taken from them here; but should this end by a panic, so does the machine.
    _queues: Vec<Virtqueue>,
    calls: Vec<EventFd>,
    interrupt: Arc<Interrupt>,
}

impl Calls {
    pub(super) fn new(
        queues: Vec<Virtqueue>,
        calls: Vec<EventFd>,
        interrupt: Arc<Interrupt>,
    ) -> Calls {
        Calls { _queues: queues, calls, interrupt }
    }
}

impl MutEventSubscriber for Calls {
    fn init(&mut self, ops: &mut EventOps) {
        for (index, call) in (0..).zip(&self.calls) {
            watch(ops, call, index);
        }
    }

    fn process(&mut self, events: Events, _ops: &mut EventOps) {
        let index = usize::try_from(events.data()).unwrap_or(usize::MAX);
        // How often it was rung does not matter.
        if self.calls.get(index).is_some_and(|call| call.read().is_ok()) {
            self.interrupt.buffers_used();
        }
    }
}

impl Worker for Calls {}
