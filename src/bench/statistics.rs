//! What samples come to: quantiles, how sure they are, and what lies far off.
//!
//! Intervals are percentile bootstrap intervals (Efron, 1979): the samples are drawn with replacement
//! [`RESAMPLES`] times, and the interval holds the middle 95 % of what the draws come to. Nothing is assumed
//! about how the samples are distributed. That of a p99 is no wider than the samples reach: with fewer than a
//! hundred of them it says little.

use super::draw::Draw;
use super::results::{Interval, Ratio, Summary};

/// How often the samples are drawn anew.
pub const RESAMPLES: usize = 2000;

/// The middle part of what the draws come to, as quantiles.
const ENDS: [f64; 2] = [0.025, 0.975];

/// Tukey's fences lie so many interquartile ranges beyond the quartiles.
const FENCE: f64 = 1.5;

/// The quantile `q` (0 to 1) of sorted samples, linear between the two that are next to it: type 7 of
/// Hyndman and Fan, which R and NumPy have as their default. NaN where there are no samples.
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = q.clamp(0.0, 1.0) * f64::from(u32::try_from(last).unwrap_or(u32::MAX));
    let below = whole(at).min(last);
    let above = (below + 1).min(last);
    let part = at - at.floor();
    let [low, high] = [below, above].map(|index| sorted.get(index).copied().unwrap_or(f64::NAN));
    low + (high - low) * part
}

/// The whole part of a position in a list.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 2^32")]
fn whole(at: f64) -> usize {
    at.floor() as usize
}

/// The median of samples in any order; NaN where there are none.
pub fn median(samples: &[f64]) -> f64 {
    quantile(&sorted(samples), 0.5)
}

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

/// All that is said about some samples. `None` where there are none.
pub fn summary(samples: &[f64], seed: u64) -> Option<Summary> {
    let sorted = sorted(samples);
    let (least, most) = (*sorted.first()?, *sorted.last()?);
    let [median, p95, p99] = intervals(&sorted, [0.5, 0.95, 0.99], seed);
    Some(Summary {
        n: u32::try_from(sorted.len()).unwrap_or(u32::MAX),
        median,
        p95,
        p99,
        least,
        most,
        outliers: outliers(samples),
    })
}

/// How many times another's figure one is, from the rounds in which both have one. `None` where there is no
/// such round, or the other's is zero.
pub fn ratio(own: &[Option<f64>], others: &[Option<f64>], seed: u64) -> Option<Ratio> {
    let ratios = ratios(own, others);
    if ratios.is_empty() {
        return None;
    }
    let [median] = intervals(&sorted(&ratios), [0.5], seed);
    Some(Ratio { n: u32::try_from(ratios.len()).unwrap_or(u32::MAX), median })
}

/// How many times another's figure one is, in each round in which both have one, and the other's is not zero.
pub fn ratios(own: &[Option<f64>], others: &[Option<f64>]) -> Vec<f64> {
    let pairs = own.iter().zip(others).filter_map(|(own, other)| Some(((*own)?, (*other)?)));
    pairs.filter(|(_, other)| *other != 0.0).map(|(own, other)| own / other).collect()
}

/// Some quantiles of sorted samples, each with the interval that it lies in with 95 % confidence.
pub fn intervals<const N: usize>(sorted: &[f64], quantiles: [f64; N], seed: u64) -> [Interval; N] {
    let mut draw = Draw::seeded(seed);
    let mut drawn: [Vec<f64>; N] = std::array::from_fn(|_| Vec::with_capacity(RESAMPLES));
    let mut counts = vec![0_usize; sorted.len()];
    let mut resample = Vec::with_capacity(sorted.len());
    for _ in 0..RESAMPLES {
        // Counted by their ranks, what was drawn comes out sorted.
        counts.fill(0);
        for _ in 0..sorted.len() {
            if let Some(count) = counts.get_mut(draw.below(sorted.len())) {
                *count += 1;
            }
        }
        resample.clear();
        for (value, count) in sorted.iter().zip(&counts) {
            resample.extend(std::iter::repeat_n(*value, *count));
        }
        for (values, q) in drawn.iter_mut().zip(quantiles) {
            values.push(quantile(&resample, q));
        }
    }
    let mut drawn = drawn.iter_mut();
    quantiles.map(|q| {
        let value = quantile(sorted, q);
        let Some(values) = drawn.next() else { return Interval { value, low: value, high: value } };
        values.sort_unstable_by(f64::total_cmp);
        let [low, high] = ENDS.map(|end| quantile(values, end));
        Interval { value, low, high }
    })
}

/// The samples beyond Tukey's fences, in the order in which they came.
fn outliers(samples: &[f64]) -> Vec<f64> {
    let sorted = sorted(samples);
    let [low, high] = [0.25, 0.75].map(|q| quantile(&sorted, q));
    let reach = FENCE * (high - low);
    let far = |sample: &&f64| **sample < low - reach || **sample > high + reach;
    samples.iter().filter(far).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// R's `quantile(c(1, 2, 3, 4, 10), c(0, .25, .5, .9, .95, .99, 1))`, by hand: position 4q between ranks.
    #[test]
    fn quantiles_are_those_of_r() {
        let samples = [1.0, 2.0, 3.0, 4.0, 10.0];
        let expected = [
            (0.0, 1.0),
            (0.25, 2.0),
            (0.5, 3.0),
            (0.9, 7.6),
            (0.95, 8.8),
            (0.99, 9.76),
            (1.0, 10.0),
        ];
        for (q, value) in expected {
            assert!((quantile(&samples, q) - value).abs() < 1e-12, "{q}");
        }
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert!(quantile(&[], 0.5).is_nan());
    }

    /// The statistic of a bootstrap of the median can be computed: of n = 5 draws from 1..5 the median is at
    /// most the k-th if at least 3 draws are among the first k, a binomial probability with p = k/5. That is
    /// 0.058 for k = 1, 0.317 for 2: the lower end is 1 (0.058 > 0.025) and the upper end 5.
    #[test]
    fn intervals_are_those_of_the_exact_bootstrap() {
        let [found] = intervals(&[1.0, 2.0, 3.0, 4.0, 5.0], [0.5], 1);
        assert_eq!((found.low, found.value, found.high), (1.0, 3.0, 5.0));
        // With n = 15 and p = k/15: P(Binomial(15, 4/15) >= 8) = 0.024 and 0.088 for 5/15, so the 2.5th
        // percentile is 5 or, where the draws fall a little otherwise, 4; likewise 11 or 12 above.
        let samples: Vec<f64> = (1..=15).map(f64::from).collect();
        let [found] = intervals(&samples, [0.5], 1);
        assert!([4.0, 5.0].contains(&found.low) && [11.0, 12.0].contains(&found.high), "{found:?}");
        assert_eq!(found.value, 8.0);
    }

    #[test]
    fn the_same_seed_gives_the_same_intervals() {
        let samples = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0];
        assert_eq!(summary(&samples, 3), summary(&samples, 3));
        assert_ne!(summary(&samples, 3), summary(&samples, 4));
    }

    #[test]
    fn outliers_are_those_beyond_tukeys_fences() {
        // Quartiles 2 and 4: the fences are at -1 and 7.
        assert_eq!(outliers(&[3.0, 7.1, 2.0, 2.0, 3.0, 4.0, 4.0, -1.0, 3.0]), [7.1]);
        assert_eq!(outliers(&[]), [0.0; 0]);
        assert_eq!(summary(&[], 1), None);
    }

    #[test]
    fn ratios_are_of_pairs_of_the_same_round() {
        let own = [Some(2.0), None, Some(30.0), Some(8.0)];
        let others = [Some(1.0), Some(5.0), Some(10.0), None];
        let found = ratio(&own, &others, 1).unwrap();
        assert_eq!((found.n, found.median.value), (2, 2.5));
        assert_eq!(ratio(&own[..1], &[None], 1), None);
        assert_eq!(ratio(&own[..1], &[Some(0.0)], 1), None);
    }

    /// A distribution whose median is known: how often does the interval hold it?
    #[test]
    fn intervals_hold_the_truth_as_often_as_they_say() {
        let mut draw = Draw::seeded(11);
        let held = (0..400)
            .filter(|&seed| {
                // Skewed, like times are: the square of a uniform number, with the median 1/4.
                let uniform = |draw: &mut Draw| {
                    f64::from(u32::try_from(draw.below(1 << 30)).unwrap()) / f64::from(1 << 30)
                };
                let samples: Vec<f64> = (0..30).map(|_| uniform(&mut draw).powi(2)).collect();
                let [found] = intervals(&sorted(&samples), [0.5], seed);
                (found.low..=found.high).contains(&0.25)
            })
            .count();
        // 95 % of 400 is 380; the percentile bootstrap of a median is a little off either way.
        assert!((364..=396).contains(&held), "{held} of 400");
    }

    proptest! {
        /// Whatever makes all of a round slower alike leaves the ratio as it is.
        #[test]
        fn ratios_do_not_feel_the_machine(
            rounds in prop::collection::vec((0.1_f64..10.0, 0.5_f64..20.0), 1..40), times in 0.5_f64..4.0
        ) {
            let others: Vec<_> = rounds.iter().map(|(other, machine)| Some(other * machine)).collect();
            let own: Vec<_> = rounds.iter().map(|(other, machine)| Some(other * times * machine)).collect();
            let found = ratio(&own, &others, 1).unwrap().median;
            for end in [found.low, found.value, found.high] {
                prop_assert!((end / times - 1.0).abs() < 1e-9);
            }
        }

        #[test]
        fn estimates_lie_within_their_intervals_and_the_samples(
            samples in prop::collection::vec(-1e6_f64..1e6, 1..60), seed: u64
        ) {
            let found = summary(&samples, seed).unwrap();
            for of in [found.median, found.p95, found.p99] {
                prop_assert!(found.least <= of.low && of.low <= of.high && of.high <= found.most);
                prop_assert!(found.least <= of.value && of.value <= found.most);
            }
        }
    }
}
