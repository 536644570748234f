//! Huge pages of the host for guest memory: not while the guest boots, afterwards gladly.
//!
//! A booting guest touches a few pages here and there, for each of which the host would clear 2 MiB. A
//! running one is faster on huge pages: fewer misses in a TLB that is refilled from two page tables.

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use event_manager::{EventOps, Events, MutEventSubscriber};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{Expiration, TimerFd, TimerSetTimeFlags};
use vm_memory::{Address, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap};

use super::timer::timer;
use super::watch::watch;

/// The size of the huge pages that the host and KVM use by themselves.
pub(super) const HUGE_PAGE: usize = 2 << 20;

/// How long a guest is taken to boot.
const BOOT: Duration = Duration::from_secs(2);

/// Keeps a guest's memory in small pages.
pub(super) fn avoid(memory: &GuestMemoryMmap) {
    memory.iter().for_each(|region| advise(region, 0, libc::MADV_NOHUGEPAGE));
}

/// Lets the host use huge pages for what the guest touches from now on, and gather small ones into
/// huge ones. Not for the lowest 2 MiB, where a PC's ROM and holes are, and little else.
fn permit(memory: &GuestMemoryMmap) {
    for region in memory.iter() {
        let lowest = if region.start_addr().raw_value() == 0 { HUGE_PAGE } else { 0 };
        advise(region, lowest, libc::MADV_HUGEPAGE);
    }
}

/// Says what a region will be used for, from an offset on. Where the host knows of no huge pages
/// that means nothing to it.
fn advise(region: &GuestRegionMmap, offset: usize, advice: libc::c_int) {
    if let Some(length) = region.size().checked_sub(offset) {
        // SAFETY: the range lies within the region's mapping, and its contents stay.
        unsafe { libc::madvise(region.as_ptr().add(offset).cast(), length, advice) };
    }
}

/// Permits them when the guest has booted.
pub(super) struct AfterBoot<'a> {
    memory: &'a GuestMemoryMmap,
    timer: TimerFd,
}

impl<'a> AfterBoot<'a> {
    pub(super) fn new(memory: &'a GuestMemoryMmap) -> nix::Result<Self> {
        let timer = timer()?;
        let once = Expiration::OneShot(TimeSpec::from_duration(BOOT));
        timer.set(once, TimerSetTimeFlags::empty())?;
        Ok(AfterBoot { memory, timer })
    }
}

impl MutEventSubscriber for AfterBoot<'_> {
    fn init(&mut self, ops: &mut EventOps) {
        watch(ops, self.timer.as_fd().as_raw_fd());
    }

    fn process(&mut self, _events: Events, _ops: &mut EventOps) {
        // It expires once.
        let _ = self.timer.wait();
        permit(self.memory);
    }
}
