//! Timers for event loops.

use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};

/// One that is not set, and does not make whoever reads it wait.
///
/// # Errors
/// No file descriptor left.
pub(super) fn timer() -> nix::Result<TimerFd> {
    TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)
}
