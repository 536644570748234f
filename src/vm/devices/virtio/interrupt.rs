//! What a device tells its driver: used buffers, a changed configuration, or that it needs a reset.
//!
//! Shared by the transport, which answers the driver's reads, and the thread that does the device's
//! work. No locks: an interrupt is served by two register accesses, and a vCPU must not wait in them.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use virtio_bindings::virtio_mmio::{VIRTIO_MMIO_INT_CONFIG, VIRTIO_MMIO_INT_VRING};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

/// The interrupt of one device.
pub struct Interrupt {
    line: EventFd,
    status: AtomicU32,
    generation: AtomicU32,
    needs_reset: AtomicBool,
    abandoned: EventFd,
}

impl Interrupt {
    /// An interrupt that nobody is connected to yet.
    ///
    /// # Errors
    /// No file descriptor left.
    pub fn new() -> io::Result<Interrupt> {
        Ok(Interrupt {
            line: EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?,
            status: AtomicU32::new(0),
            generation: AtomicU32::new(0),
            needs_reset: AtomicBool::new(false),
            abandoned: EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?,
        })
    }

    /// The eventfd that pulses the line: an irqfd in a VM.
    pub fn line(&self) -> &EventFd {
        &self.line
    }

    /// Buffers were given back and the driver wants to know.
    pub fn buffers_used(&self) {
        self.raise(VIRTIO_MMIO_INT_VRING);
    }

    /// The configuration space has changed: the driver reads it anew.
    pub fn configuration_changed(&self) {
        self.generation.fetch_add(1, Ordering::Release);
        self.raise(VIRTIO_MMIO_INT_CONFIG);
    }

    /// The device is broken until its driver resets it (virtio 1.2, section 2.1.2).
    pub fn needs_reset(&self) {
        self.needs_reset.store(true, Ordering::Release);
        self.raise(VIRTIO_MMIO_INT_CONFIG);
    }

    /// The device's work ended by a panic: a driver would wait for ever, so the machine must end.
    pub fn abandon(&self) {
        // Fails only where the counter is full, and then it was said.
        let _ = self.abandoned.write(1);
    }

    /// Becomes readable when the device's work has ended so.
    pub fn abandoned(&self) -> &EventFd {
        &self.abandoned
    }

    /// Whether the device needs a reset.
    pub fn is_reset_needed(&self) -> bool {
        self.needs_reset.load(Ordering::Acquire)
    }

    /// What was not acknowledged yet.
    pub fn status(&self) -> u32 {
        self.status.load(Ordering::Acquire)
    }

    /// The driver has seen these.
    pub fn acknowledge(&self, seen: u32) {
        self.status.fetch_and(!seen, Ordering::AcqRel);
    }

    /// Which state the configuration space is in: it changes whenever the space does.
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    /// After a reset nothing is left to be told.
    pub fn reset(&self) {
        self.needs_reset.store(false, Ordering::Release);
        self.status.store(0, Ordering::Release);
    }

    /// The line is edge-triggered, so each event is a pulse of its own, whether or not the driver has
    /// seen the last one: one that came while the line was masked is lost.
    fn raise(&self, cause: u32) {
        self.status.fetch_or(cause, Ordering::AcqRel);
        // Fails only where the counter is full, and then an interrupt is pending.
        let _ = self.line.write(1);
    }
}
