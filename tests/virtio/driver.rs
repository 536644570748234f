//! A mock driver: writes rings into guest memory as a driver would, and rings the bell. It checks
//! what a device does to it, and can do everything wrong on purpose.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use duplex::vm::devices::MmioDevice;
use duplex::vm::devices::virtio::VirtioDevice;
use duplex::vm::devices::virtio::mmio::Transport;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use virtio_bindings::virtio_mmio as reg;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// How much memory the guest has, from address 0.
pub(crate) const MEMORY: u64 = 32 << 20;
/// Where requests may put their buffers.
pub(crate) const ARENA: u64 = 4 << 20;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const NEXT: u16 = 1;
pub(crate) const WRITE: u16 = 2;
pub(crate) const INDIRECT: u16 = 4;

pub(crate) const ACKNOWLEDGE: u32 = 1;
pub(crate) const DRIVER: u32 = 2;
pub(crate) const DRIVER_OK: u32 = 4;
pub(crate) const FEATURES_OK: u32 = 8;
pub(crate) const NEEDS_RESET: u32 = 64;

pub(crate) const VERSION_1: u64 = 1 << 32;
pub(crate) const INDIRECT_DESC: u64 = 1 << 28;
pub(crate) const EVENT_IDX: u64 = 1 << 29;

/// A descriptor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Desc {
    pub(crate) gpa: u64,
    pub(crate) len: u32,
    pub(crate) flags: u16,
    pub(crate) next: u16,
}

pub(crate) fn desc(gpa: u64, len: u32, flags: u16, next: u16) -> Desc {
    Desc { gpa, len, flags, next }
}

/// Where a queue's rings are, and how far the driver is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ring {
    pub(crate) size: u16,
    pub(crate) descriptors: u64,
    pub(crate) available: u64,
    pub(crate) used: u64,
    pub(crate) next_available: u16,
    pub(crate) last_used: u16,
}

pub(crate) struct Driver {
    pub(crate) transport: Arc<Transport>,
    pub(crate) memory: GuestMemoryMmap,
    pub(crate) rings: Vec<Ring>,
    pub(crate) features: u64,
    /// How often the line was pulsed, as far as was looked.
    pub(crate) interrupts: u64,
}

impl Driver {
    /// A driver that has done nothing yet.
    pub(crate) fn new(device: Box<dyn VirtioDevice>) -> Driver {
        let size = usize::try_from(MEMORY).unwrap();
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), size)]).unwrap();
        Driver::on(device, memory)
    }

    /// The same for a guest with this memory.
    pub(crate) fn on(device: Box<dyn VirtioDevice>, memory: GuestMemoryMmap) -> Driver {
        let transport = Arc::new(Transport::new(device, memory.clone()).unwrap());
        Driver { transport, memory, rings: Vec::new(), features: 0, interrupts: 0 }
    }

    /// A driver that has made the device ready, with queues of `size`.
    pub(crate) fn ready(device: Box<dyn VirtioDevice>, features: u64, size: u16) -> Driver {
        let mut driver = Driver::new(device);
        driver.start(features, size);
        driver
    }

    pub(crate) fn start(&mut self, features: u64, size: u16) {
        self.negotiate(features);
        self.rings.clear();
        for queue in 0.. {
            if self.max_size(queue) == 0 {
                break;
            }
            self.set_up(queue, size);
        }
        self.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    }

    /// Makes the device ready with all queues but the first.
    pub(crate) fn start_with_second_only(&mut self) {
        self.set_up(0, 16);
        self.write(reg::VIRTIO_MMIO_QUEUE_READY, 0);
        self.set_up(1, 16);
        self.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    }

    pub(crate) fn read(&self, offset: u32) -> u32 {
        let mut data = [0; 4];
        self.transport.read(offset.into(), &mut data);
        u32::from_le_bytes(data)
    }

    pub(crate) fn write(&self, offset: u32, value: u32) {
        self.transport.write(offset.into(), &value.to_le_bytes());
    }

    pub(crate) fn status(&self) -> u32 {
        self.read(reg::VIRTIO_MMIO_STATUS)
    }

    pub(crate) fn set_status(&self, status: u32) {
        self.write(reg::VIRTIO_MMIO_STATUS, status);
    }

    pub(crate) fn offered(&self) -> u64 {
        let half = |sel| {
            self.write(reg::VIRTIO_MMIO_DEVICE_FEATURES_SEL, sel);
            u64::from(self.read(reg::VIRTIO_MMIO_DEVICE_FEATURES))
        };
        half(0) | half(1) << 32
    }

    /// From reset to FEATURES_OK.
    pub(crate) fn negotiate(&mut self, features: u64) {
        self.set_status(0);
        assert_eq!(self.status(), 0);
        self.set_status(ACKNOWLEDGE);
        self.set_status(ACKNOWLEDGE | DRIVER);
        self.features = (features | VERSION_1) & self.offered();
        for (sel, half) in [(0, self.features & 0xFFFF_FFFF), (1, self.features >> 32)] {
            self.write(reg::VIRTIO_MMIO_DRIVER_FEATURES_SEL, sel);
            self.write(reg::VIRTIO_MMIO_DRIVER_FEATURES, u32::try_from(half).unwrap());
        }
        self.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK);
        assert_eq!(self.status(), ACKNOWLEDGE | DRIVER | FEATURES_OK);
    }

    pub(crate) fn max_size(&self, queue: u32) -> u32 {
        self.write(reg::VIRTIO_MMIO_QUEUE_SEL, queue);
        self.read(reg::VIRTIO_MMIO_QUEUE_NUM_MAX)
    }

    fn set_up(&mut self, queue: u32, size: u16) {
        let start = 0x1_0000 + u64::from(queue) * 0x2_0000;
        let ring = Ring {
            size,
            descriptors: start,
            available: start + 0x8000,
            used: start + 0x1_0000,
            next_available: 0,
            last_used: 0,
        };
        // Rings of an earlier life.
        self.memory.write_slice(&vec![0; 0x2_0000], GuestAddress(start)).unwrap();
        self.rings.push(ring);
        self.place(queue, ring);
    }

    /// Writes a queue's registers.
    pub(crate) fn place(&self, queue: u32, ring: Ring) {
        let low = |value: u64| u32::try_from(value & 0xFFFF_FFFF).unwrap();
        self.write(reg::VIRTIO_MMIO_QUEUE_SEL, queue);
        self.write(reg::VIRTIO_MMIO_QUEUE_NUM, ring.size.into());
        for (register, value) in [
            (reg::VIRTIO_MMIO_QUEUE_DESC_LOW, ring.descriptors),
            (reg::VIRTIO_MMIO_QUEUE_AVAIL_LOW, ring.available),
            (reg::VIRTIO_MMIO_QUEUE_USED_LOW, ring.used),
        ] {
            self.write(register, low(value));
            self.write(register + 4, low(value >> 32));
        }
        self.write(reg::VIRTIO_MMIO_QUEUE_READY, 1);
    }

    /// Takes a queue away from the device, and sees that it is gone (section 4.2.2.2).
    pub(crate) fn take_away(&self, queue: u32) {
        self.write(reg::VIRTIO_MMIO_QUEUE_SEL, queue);
        self.write(reg::VIRTIO_MMIO_QUEUE_READY, 0);
        assert_eq!(self.read(reg::VIRTIO_MMIO_QUEUE_READY), 0);
    }

    pub(crate) fn put<T: vm_memory::ByteValued>(&self, gpa: u64, value: T) {
        self.memory.write_obj(value, GuestAddress(gpa)).unwrap();
    }

    pub(crate) fn get<T: vm_memory::ByteValued>(&self, gpa: u64) -> T {
        self.memory.read_obj(GuestAddress(gpa)).unwrap()
    }

    /// Writes descriptors into a table, from entry `first` on.
    pub(crate) fn put_descriptors(&self, table: u64, first: u16, descriptors: &[Desc]) {
        for (index, desc) in (u64::from(first)..).zip(descriptors) {
            let at = table + index * 16;
            self.put(at, desc.gpa);
            self.put(at + 8, desc.len);
            self.put(at + 12, desc.flags);
            self.put(at + 14, desc.next);
        }
    }

    /// Makes the chain at `head` available, without a kick.
    pub(crate) fn make_available(&mut self, queue: usize, head: u16) {
        let ring = &mut self.rings[queue];
        let slot = u64::from(ring.next_available % ring.size);
        ring.next_available = ring.next_available.wrapping_add(1);
        let (at, index, next) =
            (ring.available + 4 + 2 * slot, ring.available + 2, ring.next_available);
        self.put(at, head);
        self.memory.store(next, GuestAddress(index), std::sync::atomic::Ordering::Release).unwrap();
    }

    /// Whether the device wants to hear of what was made available, the last of which was just now.
    pub(crate) fn wants_kick(&self, queue: usize) -> bool {
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        let ring = self.rings[queue];
        if self.features & EVENT_IDX == 0 {
            return self.get::<u16>(ring.used) & 1 == 0;
        }
        let event: u16 = self.get(ring.used + 4 + 8 * u64::from(ring.size));
        event == ring.next_available.wrapping_sub(1)
    }

    pub(crate) fn kick(&self, queue: usize) {
        self.write(reg::VIRTIO_MMIO_QUEUE_NOTIFY, u32::try_from(queue).unwrap());
    }

    pub(crate) fn used_index(&self, queue: usize) -> u16 {
        let at = GuestAddress(self.rings[queue].used + 2);
        self.memory.load(at, std::sync::atomic::Ordering::Acquire).unwrap()
    }

    /// The next used element, if there is one.
    pub(crate) fn take_used(&mut self, queue: usize) -> Option<(u32, u32)> {
        if self.used_index(queue) == self.rings[queue].last_used {
            return None;
        }
        let ring = &mut self.rings[queue];
        let at = ring.used + 4 + 8 * u64::from(ring.last_used % ring.size);
        ring.last_used = ring.last_used.wrapping_add(1);
        Some((self.get(at), self.get(at + 4)))
    }

    /// Asks for an interrupt at the next used element, as Linux does before it waits.
    pub(crate) fn arm(&self, queue: usize) {
        let ring = self.rings[queue];
        self.put(ring.available + 4 + 2 * u64::from(ring.size), ring.last_used);
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    }

    /// Waits for an interrupt and acknowledges it, as a handler does; returns its causes.
    pub(crate) fn interrupt(&mut self) -> u32 {
        self.interrupt_within(PATIENCE).expect("an interrupt")
    }

    pub(crate) fn interrupt_within(&mut self, patience: Duration) -> Option<u32> {
        let line = self.transport.interrupt().line();
        // SAFETY: the eventfd belongs to the transport.
        let fd = unsafe { BorrowedFd::borrow_raw(line.as_raw_fd()) };
        let mut wait = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        let patience = PollTimeout::try_from(patience).unwrap();
        let ready = loop {
            match poll(&mut wait, patience) {
                // A fuzzer has an alarm clock.
                Err(nix::errno::Errno::EINTR) => {}
                ready => break ready.unwrap(),
            }
        };
        if ready == 0 {
            return None;
        }
        self.interrupts += line.read().unwrap();
        let status = self.read(reg::VIRTIO_MMIO_INTERRUPT_STATUS);
        self.write(reg::VIRTIO_MMIO_INTERRUPT_ACK, status);
        Some(status)
    }

    /// Waits for the next used element.
    pub(crate) fn wait_used(&mut self, queue: usize) -> (u32, u32) {
        loop {
            self.arm(queue);
            if let Some(used) = self.take_used(queue) {
                return used;
            }
            self.interrupt();
            assert_eq!(self.status() & NEEDS_RESET, 0, "the device is broken");
        }
    }

    /// Waits until the device says that it is broken.
    pub(crate) fn wait_broken(&mut self) {
        while self.status() & NEEDS_RESET == 0 {
            self.interrupt();
        }
    }

    /// Puts one chain of these buffers at `head` and on, and kicks.
    pub(crate) fn send(&mut self, queue: usize, head: u16, chain: &[Desc]) {
        let last = chain.len() - 1;
        let linked: Vec<Desc> = (head..)
            .zip(chain)
            .enumerate()
            .map(|(at, (index, d))| {
                let link = if at < last { NEXT } else { 0 };
                Desc { flags: d.flags | link, next: index + 1, ..*d }
            })
            .collect();
        self.put_descriptors(self.rings[queue].descriptors, head, &linked);
        self.make_available(queue, head);
        self.kick(queue);
    }
}
