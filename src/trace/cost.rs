//! What something has cost: how often it happened, and how its times are spread.

use std::collections::BTreeMap;

use serde::Serialize;

/// A power of two is divided into so many steps (as a power of two itself): a time that is read back is at
/// most 3 % too long.
const STEP_BITS: u32 = 5;
const STEPS: u64 = 1 << STEP_BITS;

/// The columns of a histogram for people: below 1.024 µs, then a doubling each, and the rest.
pub const COLUMNS: usize = 16;

/// How times are spread, in nanoseconds. It takes memory for the times that there are, at most 1920.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    counts: BTreeMap<u16, u64>,
    count: u64,
    most: u64,
}

impl Histogram {
    /// Adds a time.
    pub fn add(&mut self, time: u64) {
        *self.counts.entry(bucket(time)).or_default() += 1;
        self.count += 1;
        self.most = self.most.max(time);
    }

    /// The time that so many of a thousand do not exceed; zero where there is none.
    pub fn permille(&self, part: u64) -> u64 {
        let wanted = u128::from(self.count) * u128::from(part);
        let mut seen = 0_u128;
        for (bucket, count) in &self.counts {
            seen += u128::from(*count) * 1000;
            if seen >= wanted {
                return longest(*bucket).min(self.most);
            }
        }
        self.most
    }

    /// The longest time.
    pub fn most(&self) -> u64 {
        self.most
    }

    /// How many times fall into each column for people.
    pub fn columns(&self) -> [u64; COLUMNS] {
        let mut columns = [0; COLUMNS];
        for (bucket, count) in &self.counts {
            let doublings = (longest(*bucket) >> 10).checked_ilog2().map_or(0, |log| log + 1);
            let column = usize::try_from(doublings).unwrap_or(COLUMNS).min(COLUMNS - 1);
            if let Some(column) = columns.get_mut(column) {
                *column += count;
            }
        }
        columns
    }
}

/// The bucket that a time falls into: exact below [`STEPS`], then so many to each doubling.
fn bucket(time: u64) -> u16 {
    let doublings = time.checked_ilog2().unwrap_or(0).saturating_sub(STEP_BITS);
    let within = time >> doublings;
    // At most 59 doublings of 32 steps each, and the 64 below: it fits.
    u16::try_from(u64::from(doublings) * STEPS + within).unwrap_or(u16::MAX)
}

/// The longest time of a bucket.
fn longest(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    if bucket < 2 * STEPS {
        return bucket;
    }
    let doublings = bucket / STEPS - 1;
    let within = u128::from(bucket - doublings * STEPS + 1);
    u64::try_from((within << doublings) - 1).unwrap_or(u64::MAX)
}

/// What exits of a kind have cost.
#[derive(Clone, Debug, Default)]
pub struct Cost {
    /// How many.
    pub count: u64,
    /// How long the guest ran before them, in nanoseconds in all.
    pub guest: u64,
    /// How long the VMM took for them.
    pub vmm: u64,
    /// How that is spread.
    pub spread: Histogram,
}

impl Cost {
    /// Adds one.
    pub fn add(&mut self, guest: u64, vmm: u64) {
        self.count += 1;
        self.guest = self.guest.saturating_add(guest);
        self.vmm = self.vmm.saturating_add(vmm);
        self.spread.add(vmm);
    }
}

/// A cost as JSON has it, times in nanoseconds.
#[derive(Serialize)]
pub struct CostJson {
    count: u64,
    guest_before_ns: u64,
    vmm_ns: u64,
    p50_ns: u64,
    p99_ns: u64,
    longest_ns: u64,
    histogram: [u64; COLUMNS],
}

impl From<&Cost> for CostJson {
    fn from(cost: &Cost) -> CostJson {
        CostJson {
            count: cost.count,
            guest_before_ns: cost.guest,
            vmm_ns: cost.vmm,
            p50_ns: cost.spread.permille(500),
            p99_ns: cost.spread.permille(990),
            longest_ns: cost.spread.most(),
            histogram: cost.spread.columns(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn percentiles_are_those_of_the_times() {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|time| histogram.add(time * 1000));
        let near = |part: u64, time: u64| {
            let found = histogram.permille(part);
            assert!(found >= time && found <= time + time / 32, "{part}: {found}");
        };
        near(500, 500_000);
        near(990, 990_000);
        assert_eq!((histogram.permille(1000), histogram.most()), (1_000_000, 1_000_000));
        assert_eq!(Histogram::default().permille(500), 0);
    }

    #[test]
    fn columns_double() {
        let mut histogram = Histogram::default();
        for time in [0, 1000, 1100, 2100, 4200, u64::MAX] {
            histogram.add(time);
        }
        let mut expected = [0; COLUMNS];
        (expected[0], expected[1], expected[2], expected[3], expected[15]) = (2, 1, 1, 1, 1);
        assert_eq!(histogram.columns(), expected);
    }

    proptest! {
        #[test]
        fn a_bucket_holds_its_times(time: u64) {
            let found = bucket(time);
            prop_assert!(longest(found) >= time);
            prop_assert!(found == 0 || longest(found - 1) < time);
            prop_assert!(longest(found) - time <= time / 32);
        }
    }
}
