//! The observer of a command: when it was started, said its first byte and first line, and ended.
//!
//! In a counting testbed the machine's clock advances by one nanosecond an instruction, so that
//! the difference of two times is a number of instructions: of everything that ran on the machine
//! in between, which is the command, the kernel, and this observer.

use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

use crate::session::guest::Observer;
use crate::testbed::model::Counts;

/// How much output is held back while instructions are counted, for sending would count too.
const HELD_LIMIT: usize = 64 << 20;

/// A moment on the machine's clock, in nanoseconds since it was switched on.
#[derive(Clone, Copy, Debug)]
struct Instant(u64);

impl Instant {
    /// Now. The raw clock: nobody adjusts it.
    fn now() -> Self {
        // The clock is always there; the call fails on an unknown one only.
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC_RAW).unwrap_or(TimeSpec::new(0, 0));
        let part = |value: i64| u64::try_from(value).unwrap_or(0);
        Self(part(now.tv_sec()) * 1_000_000_000 + part(now.tv_nsec()))
    }

    fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Lets the kernel do what it has put off: freeing, writing back, retiring old mounts. It would be
/// counted otherwise, on some runs more than on others. Costs hardly any wall time: the clock of an
/// idle machine jumps.
pub(super) fn let_the_machine_settle() {
    std::thread::sleep(Duration::from_secs(1));
}

/// What has been observed of one command.
#[derive(Debug, Default)]
pub(super) struct Stopwatch {
    started: Option<Instant>,
    first_byte: Option<Instant>,
    first_line: Option<Instant>,
    ended: Option<Instant>,
}

impl Observer for Stopwatch {
    fn starts(&mut self) {
        self.started = Some(Instant::now());
    }

    fn wrote(&mut self, bytes: &[u8]) {
        self.saw(bytes, Instant::now());
    }

    fn ended(&mut self) {
        self.ended.get_or_insert(Instant::now());
    }

    fn held_limit(&self) -> Option<usize> {
        Some(HELD_LIMIT)
    }
}

impl Stopwatch {
    /// These bytes have come from standard output, at `now`.
    fn saw(&mut self, bytes: &[u8], now: Instant) {
        if !bytes.is_empty() {
            self.first_byte.get_or_insert(now);
        }
        if bytes.contains(&b'\n') {
            self.first_line.get_or_insert(now);
        }
    }

    /// The durations, in nanoseconds of the machine's clock.
    pub(super) fn counts(&self) -> Counts {
        let since_start = |moment: Option<Instant>| Some(moment?.since(self.started?));
        Counts {
            first_byte: since_start(self.first_byte),
            first_line: since_start(self.first_line),
            end: since_start(self.ended).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_from_the_start() {
        let mut watch = Stopwatch { started: Some(Instant(100)), ..Stopwatch::default() };
        watch.saw(b"", Instant(110));
        watch.saw(b"he", Instant(120));
        watch.saw(b"llo\nyou\n", Instant(130));
        watch.saw(b"again\n", Instant(140));
        watch.ended = Some(Instant(150));
        let counts = Counts { first_byte: Some(20), first_line: Some(30), end: 50 };
        assert_eq!(watch.counts(), counts);
    }
}
