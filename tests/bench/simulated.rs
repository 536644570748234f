//! On a machine whose time is made up: every cost, its speed and its noise are known.

use duplex::bench::contender::Contender;
use duplex::bench::draw::Draw;
use duplex::bench::results::{Series, Unit};
use duplex::bench::rounds::{Found, Measured, measure};
use duplex::bench::schedule::Schedule;
use duplex::bench::stop::Stop;
use proptest::prelude::*;

use crate::known::{Known, difference};

/// A machine that gets slower all the time, with noise that is skewed as real noise is.
struct Machine {
    /// The time since the run began, in milliseconds.
    now: f64,
    /// By how much a millisecond's work takes longer after each millisecond.
    drift: f64,
    /// How much may be added to a sample, as a part of it.
    noise: f64,
    draw: Draw,
}

impl Machine {
    fn new(drift: f64, noise: f64, seed: u64) -> Self {
        Self { now: 0.0, drift, noise, draw: Draw::seeded(seed) }
    }

    /// How long work takes that takes so many milliseconds when all is quiet and new.
    fn takes(&mut self, milliseconds: f64) -> f64 {
        let drawn =
            f64::from(u32::try_from(self.draw.below(1 << 20)).unwrap()) / f64::from(1 << 20);
        let slower = 1.0 + self.drift * self.now;
        let time = milliseconds * slower * (1.0 + self.noise * drawn.powi(3));
        self.now += time;
        time
    }
}

/// Measures contenders that cost so much, the first of which is the baseline.
fn measured(costs: &[(&str, f64)], rounds: u32, seed: u64, machine: &mut Machine) -> Found {
    let known: Vec<Known> = costs.iter().map(|(id, _)| Known::new(id, "")).collect();
    let contenders: Vec<&dyn Contender> = known.iter().map(|one| one as &dyn Contender).collect();
    let schedule = Schedule { warm_up: 1, rounds, seed };
    let hooks = (&mut () as &mut dyn duplex::bench::rounds::Watch, &Stop::default());
    measure(&contenders, (schedule, None), Some(costs[0].0), hooks, |contender, _| {
        let id = &contender.described().id;
        let cost = costs.iter().find(|(name, _)| name == id).unwrap().1;
        Ok(vec![Measured::new("exit", Unit::Milliseconds, machine.takes(cost))])
    })
}

fn ratio(series: &Series) -> (f64, f64, f64) {
    let median = series.ratio.unwrap().median;
    (median.low, median.value, median.high)
}

#[test]
fn a_known_delay_is_found_to_be_that_long() {
    let mut machine = Machine::new(0.0, 0.0, 1);
    let found = measured(&[("a", 10.0), ("b", 13.5)], 20, 1, &mut machine);
    assert_eq!(difference(&found.series[1], &found.series[0]), (3.5, 3.5, 3.5));
    assert_eq!(ratio(&found.series[1]), (1.35, 1.35, 1.35));
}

/// What the interleaving is for: the same two contenders, one after the other instead.
#[test]
fn without_turns_drift_would_make_one_look_slower() {
    let mut machine = Machine::new(0.001, 0.1, 3);
    let first = measured(&[("a", 10.0)], 30, 1, &mut machine);
    let second = measured(&[("b", 10.0)], 30, 1, &mut machine);
    let (low, ..) = difference(&second.series[0], &first.series[0]);
    assert!(low > 1.0, "the machine got slower by a third, and it is not seen: {low}");
}

/// How many of 200 intervals hold what is known.
fn held(drift: f64, times: f64) -> usize {
    (0..200)
        .filter(|&seed| {
            let mut machine = Machine::new(drift, 0.5, seed);
            let found = measured(&[("a", 10.0), ("b", 10.0 * times)], 20, seed, &mut machine);
            let (low, _, high) = ratio(&found.series[1]);
            (low..=high).contains(&times)
        })
        .count()
}

#[test]
fn two_identical_contenders_are_found_equal() {
    let held = held(0.0, 1.0);
    assert!(held >= 180, "the interval holds 1 in {held} of 200 runs, and says it does in 190");
}

/// The machine gets slower by two thirds during each run.
#[test]
fn drift_does_not_make_one_look_slower() {
    for times in [1.0, 1.25] {
        let held = held(0.0015, times);
        assert!(held >= 180, "the interval holds {times} in {held} of 200 runs");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the drift and the noise, who takes longer is found, by about the right factor.
    #[test]
    fn who_takes_longer_is_found(drift in 0.0_f64..0.003, noise in 0.0_f64..0.3, seed: u64) {
        let mut machine = Machine::new(drift, noise, seed);
        let found = measured(&[("a", 10.0), ("b", 20.0)], 30, seed, &mut machine);
        let (low, value, high) = ratio(&found.series[1]);
        prop_assert!(low > 1.5 && high < 2.6, "{low} {value} {high}");
    }

    /// A contender that fails now and then has fewer samples, not other ones.
    #[test]
    fn failures_do_not_shift_samples(failing in prop::collection::hash_set(0_u64..40, 0..10), seed: u64) {
        let (a, b) = (Known::new("a", ""), Known::new("b", ""));
        let schedule = Schedule { warm_up: 0, rounds: 20, seed };
        let mut samples = Vec::new();
        let hooks = (&mut () as &mut dyn duplex::bench::rounds::Watch, &Stop::default());
        let found = measure(&[&a, &b], (schedule, None), None, hooks, |contender, turn| {
            if failing.contains(&turn.number) && !samples.is_empty() {
                return Err("known to fail".into());
            }
            let value = f64::from(u32::try_from(turn.number).unwrap());
            samples.push((contender.described().id.clone(), value));
            Ok(vec![Measured::new("turn", Unit::Count, value)])
        });
        for series in &found.series {
            let taken = samples.iter().filter(|(id, _)| *id == series.contender).map(|(_, value)| *value);
            let kept: Vec<f64> = series.samples.iter().flatten().copied().collect();
            prop_assert_eq!(taken.collect::<Vec<_>>(), kept);
            // A sample is where its round is: each round has two turns.
            for (round, sample) in series.samples.iter().enumerate() {
                if let Some(turn) = sample {
                    let begin = f64::from(u32::try_from(round).unwrap()) * 2.0;
                    prop_assert!(*turn == begin + 1.0 || *turn == begin + 2.0);
                }
            }
        }
    }
}
