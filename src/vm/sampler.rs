//! Where the guest is, asked for now and then: the vCPUs are kicked out of it, and as every exit is written
//! down with the instruction pointer, that is a sample.

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use event_manager::{EventOps, Events, MutEventSubscriber};
use nix::sys::timerfd::{Expiration, TimerFd, TimerSetTimeFlags};

use super::control::Threads;
use super::timer::timer;
use super::watch::watch;

/// Kicks all vCPUs at a rate.
pub(super) struct Sampler<'a> {
    threads: &'a Threads,
    timer: TimerFd,
}

impl<'a> Sampler<'a> {
    /// `rate` times a second.
    pub(super) fn new(threads: &'a Threads, rate: u32) -> nix::Result<Self> {
        let timer = timer()?;
        let interval = Duration::from_secs(1) / rate.max(1);
        timer.set(Expiration::Interval(interval.into()), TimerSetTimeFlags::empty())?;
        Ok(Sampler { threads, timer })
    }
}

impl MutEventSubscriber for Sampler<'_> {
    fn init(&mut self, ops: &mut EventOps) {
        watch(ops, self.timer.as_fd().as_raw_fd());
    }

    fn process(&mut self, _events: Events, _ops: &mut EventOps) {
        // Clears the timer; how often it expired does not matter.
        let _ = self.timer.wait();
        self.threads.kick();
    }
}
