//! The host's handle on a balloon: how large it should be, and what the guest says.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use crate::vm::devices::virtio::interrupt::Interrupt;

/// What the guest says of its memory (virtio 1.2, section 5.5.6.4): tags and values, as it says them.
pub type Statistics = BTreeMap<u16, u64>;

/// The host's handle. It outlives resets of the device.
pub struct Control {
    target: AtomicU32,
    actual: AtomicU32,
    given_back: AtomicU64,
    statistics: Mutex<Statistics>,
    /// How often statistics came.
    statistics_count: AtomicU64,
    interrupt: Mutex<Option<Arc<Interrupt>>>,
    bell: EventFd,
}

impl Control {
    /// A balloon that is to have `pages` pages of 4 KiB.
    ///
    /// # Errors
    /// No file descriptor left.
    pub fn new(pages: u32) -> io::Result<Control> {
        Ok(Control {
            target: AtomicU32::new(pages),
            actual: AtomicU32::new(0),
            given_back: AtomicU64::new(0),
            statistics: Mutex::default(),
            statistics_count: AtomicU64::new(0),
            interrupt: Mutex::default(),
            bell: EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?,
        })
    }

    /// Says how many pages of 4 KiB the balloon is to have; the guest follows as far as it can.
    pub fn set_target(&self, pages: u32) {
        self.target.store(pages, Ordering::Release);
        if let Some(interrupt) = lock(&self.interrupt).as_ref() {
            interrupt.configuration_changed();
        }
    }

    /// How many pages it is to have.
    pub fn target(&self) -> u32 {
        self.target.load(Ordering::Acquire)
    }

    /// How many pages it has, as the guest says.
    pub fn actual(&self) -> u32 {
        self.actual.load(Ordering::Acquire)
    }

    /// How many bytes the host got back, those included that the guest took again since.
    pub fn given_back(&self) -> u64 {
        self.given_back.load(Ordering::Relaxed)
    }

    /// Asks the guest for new statistics.
    pub fn request_statistics(&self) {
        // Only a wake-up: a full counter is one.
        let _ = self.bell.write(1);
    }

    /// The last statistics that it gave.
    pub fn statistics(&self) -> Statistics {
        lock(&self.statistics).clone()
    }

    /// How often statistics came: more than before, and those above are new.
    pub fn statistics_count(&self) -> u64 {
        self.statistics_count.load(Ordering::Acquire)
    }

    pub(super) fn bell(&self) -> &EventFd {
        &self.bell
    }

    pub(super) fn set_actual(&self, pages: u32) {
        self.actual.store(pages, Ordering::Release);
    }

    pub(super) fn add_given_back(&self, bytes: u64) {
        self.given_back.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn set_statistics(&self, statistics: Statistics) {
        *lock(&self.statistics) = statistics;
        self.statistics_count.fetch_add(1, Ordering::Release);
    }

    /// While the device is active it can be told of a new target.
    pub(super) fn connect(&self, interrupt: Option<Arc<Interrupt>>) {
        *lock(&self.interrupt) = interrupt;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
