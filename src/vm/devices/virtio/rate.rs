//! Token buckets: how much a device may do in a second, with a burst after a rest.
//!
//! A bucket may go into debt for one request: whoever finds it out of debt may take whatever it
//! needs, so that a request larger than the burst passes too, and the next ones wait until the debt
//! is paid. Over any time the rate holds, to one burst and one request.

use std::time::{Duration, Instant};

/// What part of a second's tokens is the burst.
const BURST_DIVISOR: u64 = 10;
const NANOS: i128 = 1_000_000_000;

/// One bucket.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    per_second: u64,
    /// In billionths of a token, so that no rate and no interval is rounded away.
    balance: i128,
    filled: Instant,
}

impl TokenBucket {
    /// A full bucket of `per_second` tokens a second, at least one.
    pub fn new(per_second: u64, now: Instant) -> TokenBucket {
        let mut bucket = TokenBucket { per_second: per_second.max(1), balance: 0, filled: now };
        bucket.balance = bucket.most();
        bucket
    }

    fn most(&self) -> i128 {
        i128::from((self.per_second / BURST_DIVISOR).max(1)) * NANOS
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled);
        let nanos = i128::try_from(passed.as_nanos()).unwrap_or(i128::MAX);
        let earned = nanos.saturating_mul(self.per_second.into());
        self.balance = self.balance.saturating_add(earned).min(self.most());
        self.filled = self.filled.max(now);
    }

    /// How long until something may be taken: zero where it may be now.
    fn wait(&mut self, now: Instant) -> Duration {
        self.fill(now);
        if self.balance > 0 {
            return Duration::ZERO;
        }
        let nanos = -self.balance / i128::from(self.per_second) + 1;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn take(&mut self, tokens: u64) {
        self.balance = self.balance.saturating_sub(i128::from(tokens) * NANOS);
    }
}

/// A limit in bytes a second, in operations a second, in both or in neither.
#[derive(Clone, Debug, Default)]
pub struct RateLimiter {
    bytes: Option<TokenBucket>,
    operations: Option<TokenBucket>,
}

impl RateLimiter {
    /// Limits what is given.
    pub fn new(bytes: Option<u64>, operations: Option<u64>, now: Instant) -> RateLimiter {
        let bucket = |rate: Option<u64>| rate.map(|rate| TokenBucket::new(rate, now));
        RateLimiter { bytes: bucket(bytes), operations: bucket(operations) }
    }

    /// Whether there is any limit.
    pub fn is_limited(&self) -> bool {
        self.bytes.is_some() || self.operations.is_some()
    }

    /// How long the next operation must wait; `None` where it may start now.
    pub fn wait(&mut self, now: Instant) -> Option<Duration> {
        let buckets = [&mut self.bytes, &mut self.operations].into_iter().flatten();
        buckets.map(|bucket| bucket.wait(now)).max().filter(|wait| *wait > Duration::ZERO)
    }

    /// Counts an operation of so many bytes.
    pub fn take(&mut self, bytes: u64) {
        if let Some(bucket) = &mut self.bytes {
            bucket.take(bytes);
        }
        if let Some(bucket) = &mut self.operations {
            bucket.take(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_limit_never_waits() {
        let now = Instant::now();
        let mut limiter = RateLimiter::new(None, None, now);
        limiter.take(u64::MAX);
        assert_eq!(limiter.wait(now), None);
        assert!(!limiter.is_limited());
    }

    #[test]
    fn a_request_larger_than_the_burst_passes_and_is_paid_for() {
        let start = Instant::now();
        let mut limiter = RateLimiter::new(Some(1000), None, start);
        assert_eq!(limiter.wait(start), None);
        limiter.take(2100);
        let wait = limiter.wait(start).unwrap();
        assert!(wait >= Duration::from_secs(2) && wait < Duration::from_millis(2001), "{wait:?}");
        assert_eq!(limiter.wait(start + wait), None);
    }

    #[test]
    fn the_stricter_limit_counts() {
        let start = Instant::now();
        let mut limiter = RateLimiter::new(Some(1 << 30), Some(10), start);
        limiter.take(1);
        limiter.take(1);
        assert!(limiter.wait(start).unwrap() >= Duration::from_millis(100));
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let start = Instant::now() + Duration::from_secs(100);
        let mut limiter = RateLimiter::new(Some(10), None, start);
        limiter.take(20);
        assert!(limiter.wait(start - Duration::from_secs(50)).is_some());
        assert!(limiter.wait(start).is_some());
    }

    proptest! {
        #[test]
        fn the_rate_holds_over_any_time(
            rate in 1_u64..1 << 40, sizes in proptest::collection::vec(1_u64..1 << 30, 1..50),
        ) {
            let start = Instant::now();
            let mut now = start;
            let mut limiter = RateLimiter::new(Some(rate), None, now);
            let mut before_last = 0;
            let mut taken = 0;
            for size in sizes {
                while let Some(wait) = limiter.wait(now) {
                    // Beyond what a clock can tell, nothing more is to be seen.
                    let Some(later) = now.checked_add(wait) else { return Ok(()) };
                    now = later;
                }
                before_last = taken;
                limiter.take(size);
                taken += size;
            }
            let seconds = (now - start).as_secs_f64();
            let burst = (rate / BURST_DIVISOR).max(1);
            let most = seconds * rate as f64 + burst as f64 + 1.0;
            prop_assert!(before_last as f64 <= most * 1.000_001, "{before_last} > {most}");
        }
    }
}
