//! A split virtqueue as a device sees it (virtio 1.2, section 2.7).
//!
//! The rings are the crate virtio-queue's; this adds what it leaves to its callers. It ends a chain
//! silently where a descriptor is bad; takes a readable buffer after a writable one, indirect tables
//! that were not negotiated, and a head beyond the table; and knows nothing of
//! VIRTQ_AVAIL_F_NO_INTERRUPT. Here each is a [`QueueError`] (or obeyed), and an error ends the
//! queue's work until the driver resets the device.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};
use vmm_sys_util::eventfd::EventFd;

use super::chain::{Chain, Table, total};
use super::interrupt::Interrupt;
pub use super::queue_error::QueueError;
use crate::trace::boot::monotonic;
use crate::trace::event::Event;
use crate::trace::ring::Writer;

/// VIRTQ_AVAIL_F_NO_INTERRUPT (section 2.7.6).
const NO_INTERRUPT: u16 = 1;

/// Where a driver put a queue: what it wrote into the registers, unchecked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rings {
    /// How many descriptors.
    pub size: u32,
    /// The descriptor table (virtio 1.2: descriptor area).
    pub descriptors: u64,
    /// The available ring (driver area).
    pub available: u64,
    /// The used ring (device area).
    pub used: u64,
}

impl Rings {
    /// A queue on these rings, after all checks that can be made before the first request.
    fn queue(
        self,
        max_size: u16,
        features: u64,
        memory: &GuestMemoryMmap,
    ) -> Result<Queue, QueueError> {
        let size = u16::try_from(self.size)
            .ok()
            .filter(|size| size.is_power_of_two() && *size <= max_size)
            .ok_or(QueueError::Size(self.size, max_size))?;
        let mut queue = Queue::new(max_size)?;
        queue.try_set_size(size)?;
        let (descriptors, available, used) = (self.descriptors, self.available, self.used);
        queue
            .try_set_desc_table_address(GuestAddress(descriptors))
            .map_err(|_| QueueError::Misaligned("the descriptor table", descriptors))?;
        queue
            .try_set_avail_ring_address(GuestAddress(available))
            .map_err(|_| QueueError::Misaligned("the available ring", available))?;
        queue
            .try_set_used_ring_address(GuestAddress(used))
            .map_err(|_| QueueError::Misaligned("the used ring", used))?;
        let entries = usize::from(size);
        for (name, start, bytes) in [
            ("the descriptor table", descriptors, 16 * entries),
            ("the available ring", available, 6 + 2 * entries),
            ("the used ring", used, 6 + 8 * entries),
        ] {
            if !memory.check_range(GuestAddress(start), bytes) {
                return Err(QueueError::Outside(name, start));
            }
        }
        queue.set_event_idx(has(features, VIRTIO_RING_F_EVENT_IDX));
        queue.set_ready(true);
        Ok(queue)
    }
}

/// Whether `features` has the bit of this number.
pub fn has(features: u64, bit: u32) -> bool {
    features.checked_shr(bit).unwrap_or(0) & 1 != 0
}

/// A queue that a driver has made ready, with the bell that it rings and the interrupt that answers.
pub struct Virtqueue {
    index: u16,
    ring: Queue,
    memory: GuestMemoryMmap,
    kick: EventFd,
    interrupt: Arc<Interrupt>,
    indirect: bool,
    /// Where events go, if anybody wants to know.
    lane: Option<Writer>,
    /// Something was given back that the driver was not told of.
    untold: bool,
    /// How often the device has rung the bell itself since it last heard it.
    own_kicks: Cell<u64>,
}

impl Virtqueue {
    /// Checks what the driver wrote into the registers.
    ///
    /// # Errors
    /// Rings where none may be.
    pub fn new(
        index: u16,
        max_size: u16,
        rings: Rings,
        features: u64,
        memory: GuestMemoryMmap,
        kick: EventFd,
        interrupt: Arc<Interrupt>,
    ) -> Result<Virtqueue, QueueError> {
        let ring = rings.queue(max_size, features, &memory)?;
        let indirect = has(features, VIRTIO_RING_F_INDIRECT_DESC);
        let (lane, untold, own_kicks) = (None, false, Cell::new(0));
        Ok(Virtqueue { index, ring, memory, kick, interrupt, indirect, lane, untold, own_kicks })
    }

    /// Has what happens in it recorded.
    pub(super) fn trace(mut self, lane: Option<Writer>) -> Virtqueue {
        self.lane = lane;
        self
    }

    /// Records an event that happens now.
    fn record(&self, event: impl FnOnce(u64) -> Event) {
        if let Some(lane) = &self.lane {
            lane.put(event(monotonic()).words());
        }
    }

    /// Which of the device's queues it is.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// How many descriptors it has.
    pub fn size(&self) -> u16 {
        self.ring.size()
    }

    /// Where the driver has put it, checked: each part lies in memory.
    pub fn rings(&self) -> Rings {
        Rings {
            size: self.ring.size().into(),
            descriptors: self.ring.desc_table(),
            available: self.ring.avail_ring(),
            used: self.ring.used_ring(),
        }
    }

    /// Becomes readable when the driver has made buffers available.
    pub fn kick(&self) -> &EventFd {
        &self.kick
    }

    /// The guest's memory.
    pub fn memory(&self) -> &GuestMemoryMmap {
        &self.memory
    }

    /// Takes the next chain that the driver has made available. `false`: there is none.
    ///
    /// # Errors
    /// A ring or a chain that is broken. Nothing more must be taken from this queue then.
    pub fn pop(&mut self, chain: &mut Chain) -> Result<bool, QueueError> {
        let next = self.ring.iter(&self.memory)?.next();
        let Some(head) = next.map(|chain| chain.head_index()) else { return Ok(false) };
        let table =
            Table { start: GuestAddress(self.ring.desc_table()), entries: self.ring.size().into() };
        chain.read(&self.memory, table, head, self.indirect)?;
        self.record(|at| {
            let (readable, writable) = (total(chain.readable()), total(chain.writable()));
            Event::Taken { at, head, readable, writable }
        });
        Ok(true)
    }

    /// Gives a chain back, with how many bytes were written into it. Tells the driver nothing yet:
    /// several can be told at once by [`Virtqueue::notify`].
    ///
    /// # Errors
    /// None that a queue which was checked could have.
    pub fn push(&mut self, head: u16, written: u32) -> Result<(), QueueError> {
        self.ring.add_used(&self.memory, head, written)?;
        self.untold = true;
        self.record(|at| Event::Done { at, head, written: written.into() });
        Ok(())
    }

    /// Interrupts the driver if it wants to know of what was given back.
    ///
    /// # Errors
    /// As [`Virtqueue::push`].
    pub fn notify(&mut self) -> Result<(), QueueError> {
        let wanted = if self.ring.event_idx_enabled() {
            self.ring.needs_notification(&self.memory)?
        } else {
            // What was given back must be there before the driver's wish is read: it looks for
            // buffers once more after it has changed its mind.
            fence(Ordering::SeqCst);
            let flags = GuestAddress(self.ring.avail_ring());
            let flags: u16 = self
                .memory
                .load(flags, Ordering::Relaxed)
                .map_err(virtio_queue::Error::GuestMemory)?;
            u16::from_le(flags) & NO_INTERRUPT == 0
        };
        if wanted {
            self.interrupt.buffers_used();
        }
        if std::mem::take(&mut self.untold) || wanted {
            self.record(|at| Event::Notified { at, interrupt: wanted });
        }
        Ok(())
    }

    /// Asks the driver for a kick when it makes more available. `true`: there is more already, and
    /// no kick may come for it.
    ///
    /// # Errors
    /// As [`Virtqueue::push`].
    pub fn enable_kicks(&mut self) -> Result<bool, QueueError> {
        Ok(self.ring.enable_notification(&self.memory)?)
    }

    /// Tells the driver that no kicks are needed: the queue is being looked at anyway.
    ///
    /// # Errors
    /// As [`Virtqueue::push`].
    pub fn disable_kicks(&mut self) -> Result<(), QueueError> {
        Ok(self.ring.disable_notification(&self.memory)?)
    }

    /// Takes the kicks that have come, before the queue is looked at.
    pub fn take_kicks(&self) {
        // Only a wake-up: how often it was rung matters to nobody but who wants to know whether the driver did.
        let rung = self.kick.read().unwrap_or(0);
        if rung > self.own_kicks.replace(0) {
            self.record(|at| Event::Kick { at });
        }
    }

    /// Rings its own bell: there is more to do, but others come first.
    pub fn kick_self(&self) {
        // The counter cannot overflow: whoever is kicked empties it.
        let _ = self.kick.write(1);
        self.own_kicks.update(|count| count + 1);
    }

    /// Says that the driver broke this queue: the device needs a reset.
    pub fn broken(&self, error: &QueueError) {
        log::debug!("virtio: queue {} is broken: {error}", self.index);
        self.interrupt.needs_reset();
    }
}

impl Drop for Virtqueue {
    /// A worker that panics is dropped with its queues while its thread unwinds, and so are all others
    /// that the thread worked for.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.interrupt.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use vmm_sys_util::eventfd::EFD_NONBLOCK;

    use super::*;
    use crate::trace::ring::Ring;

    #[test]
    fn only_the_drivers_kicks_are_recorded() {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x4000)]).unwrap();
        let rings = Rings { size: 4, descriptors: 0x1000, available: 0x2000, used: 0x3000 };
        let bell = || EventFd::new(EFD_NONBLOCK).unwrap();
        let kick = bell();
        let interrupt = Arc::new(Interrupt::new().unwrap());
        let ours = kick.try_clone().unwrap();
        let queue = Virtqueue::new(0, 4, rings, 0, memory, ours, interrupt).unwrap();
        let ring = Arc::new(Ring::new(16, Arc::new(bell())));
        let queue = queue.trace(ring.writer());
        let recorded = || {
            let mut count = 0;
            queue.take_kicks();
            ring.drain(|_| count += 1);
            count
        };
        queue.kick_self();
        queue.kick_self();
        assert_eq!(recorded(), 0);
        kick.write(1).unwrap();
        assert_eq!(recorded(), 1);
        queue.kick_self();
        kick.write(1).unwrap();
        assert_eq!(recorded(), 1, "both at once");
        assert_eq!(recorded(), 0, "nobody");
    }
}
