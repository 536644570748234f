//! Numbers drawn from a seed: the same seed, the same draws, on every machine.

/// Draws numbers: SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    /// Draws that follow from this seed.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, each as likely as the others; 0 where there is none below.
    pub fn below(&mut self, bound: usize) -> usize {
        let wide = u128::try_from(bound).unwrap_or(0);
        if wide == 0 {
            return 0;
        }
        // The upper half of a product lies below the bound. Draws that would make some numbers likelier by
        // one part in 2^64 are thrown away (Lemire, 2019).
        let reject_below = (1_u128 << 64) % wide;
        loop {
            let product = u128::from(self.next()) * wide;
            let (number, rest) = (product >> 64, product & u128::from(u64::MAX));
            if rest >= reject_below {
                return usize::try_from(number).unwrap_or(0);
            }
        }
    }

    /// Puts them into an order that is drawn: Fisher and Yates'.
    pub fn shuffle<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            things.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_those_of_the_published_algorithm() {
        // The first outputs for seed 1234567, as the reference implementation has them.
        let mut draw = Draw::seeded(1_234_567);
        let drawn: Vec<u64> = (0..3).map(|_| draw.next()).collect();
        assert_eq!(
            drawn,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn each_order_is_as_likely_as_the_others() {
        let mut draw = Draw::seeded(7);
        let mut seen = std::collections::BTreeMap::new();
        for _ in 0..6000 {
            let mut order = [0, 1, 2];
            draw.shuffle(&mut order);
            *seen.entry(order).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), 6);
        // Five standard deviations of a binomial distribution with n = 6000, p = 1/6.
        assert!(seen.values().all(|count| (856..=1144).contains(count)), "{seen:?}");
    }
}
