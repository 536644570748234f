//! When a start begins on the clock that counts instructions: at a known distance from the kernel's tick.
//!
//! Some of a start waits for a grace period of RCU (creating a VM moves a kernel thread into control groups), and those
//! end at ticks. What such a wait takes depends on how far the next tick is, up to a whole period. Left to chance,
//! that alone makes medians of ten starts differ by more than one hundredth.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};

/// The period of the kernel's tick in the testbed: Debian's CONFIG_HZ is 250.
const PERIOD: Duration = Duration::from_millis(4);

/// How long the machine is left alone first. What the last start has left to the kernel's own threads is done then.
const QUIET: Duration = Duration::from_millis(200);

/// Waits until the machine is quiet, and then for this place in the period: from 0, at its begin, to 1.
///
/// # Errors
/// The clock cannot be read, or not be waited for.
pub(super) fn wait_for(place: f64) -> Result<(), Errno> {
    let clock = ClockId::CLOCK_MONOTONIC;
    let until = begin(Duration::from(clock_gettime(clock)?), place);
    match clock_nanosleep(clock, ClockNanosleepFlags::TIMER_ABSTIME, &TimeSpec::from(until)) {
        // A signal: whoever observes looks for it.
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The first such place after the quiet.
fn begin(now: Duration, place: f64) -> Duration {
    let quiet = now + QUIET;
    let periods = quiet.as_nanos().div_ceil(PERIOD.as_nanos());
    PERIOD * u32::try_from(periods).unwrap_or(u32::MAX) + PERIOD.mul_f64(place.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_begins_after_the_quiet_at_its_place_in_the_period() {
        let now = Duration::from_micros(1_000_001);
        let quiet = Duration::from_millis(1204);
        assert_eq!(begin(now, 0.0), quiet);
        assert_eq!(begin(now, 0.25), quiet + Duration::from_millis(1));
    }
}
