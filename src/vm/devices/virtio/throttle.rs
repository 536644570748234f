//! A rate limit and the timer that ends a wait for it, for event loops.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Instant;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{Expiration, TimerFd, TimerSetTimeFlags};

use super::rate::RateLimiter;
use crate::vm::timer::timer;

/// A rate limiter with a file descriptor that becomes readable when a wait is over.
pub struct Throttle {
    limiter: RateLimiter,
    timer: TimerFd,
    waiting: bool,
}

impl Throttle {
    /// Takes the limiter.
    ///
    /// # Errors
    /// No file descriptor left.
    pub fn new(limiter: RateLimiter) -> io::Result<Throttle> {
        let timer = timer()?;
        Ok(Throttle { limiter, timer, waiting: false })
    }

    /// Whether an operation may start now. If not, the timer says when to ask again.
    pub fn admits(&mut self) -> bool {
        if self.waiting || !self.limiter.is_limited() {
            return !self.waiting;
        }
        let Some(wait) = self.limiter.wait(Instant::now()) else { return true };
        let expiration = Expiration::OneShot(TimeSpec::from_duration(wait));
        match self.timer.set(expiration, TimerSetTimeFlags::empty()) {
            Ok(()) => {
                self.waiting = true;
                false
            }
            // Without a timer nobody would ask again: better too fast than never.
            Err(error) => {
                log::warn!("virtio: a rate limit cannot be kept: {error}");
                true
            }
        }
    }

    /// Whether operations wait for the timer.
    pub fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Counts an operation of so many bytes.
    pub fn take(&mut self, bytes: u64) {
        self.limiter.take(bytes);
    }

    /// The timer has expired: takes that, so that it is not readable any more.
    pub fn take_expiration(&mut self) {
        self.waiting = false;
        let mut count = [0; 8];
        // Not readable: somebody has taken it.
        let _ = nix::unistd::read(self.timer.as_fd(), &mut count);
    }
}

impl AsRawFd for Throttle {
    fn as_raw_fd(&self) -> RawFd {
        self.timer.as_fd().as_raw_fd()
    }
}
