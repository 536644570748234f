//! A stopwatch for criterion that runs while others work.

use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use nix::time::{ClockId, clock_gettime};

/// CPU time of this process but for this thread.
pub(crate) struct DeviceTime;

impl DeviceTime {
    fn now() -> Duration {
        let [all, own] = [ClockId::CLOCK_PROCESS_CPUTIME_ID, ClockId::CLOCK_THREAD_CPUTIME_ID]
            .map(|clock| Duration::from(clock_gettime(clock).unwrap()));
        all.saturating_sub(own)
    }
}

impl Measurement for DeviceTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        Self::now()
    }

    fn end(&self, start: Duration) -> Duration {
        // Never nothing: a sample of no time has no meaning to the statistics.
        Self::now().saturating_sub(start).max(Duration::from_nanos(1))
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}
