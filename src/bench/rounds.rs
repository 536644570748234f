//! All contenders in turn, round by round, and what comes of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::contender::Contender;
use super::results::{Case, Fact, Series, Unit};
use super::schedule::Schedule;
use super::statistics;
use super::stop::Stop;

/// A contender that has failed so often, and never succeeded, is not tried again.
const PATIENCE: u32 = 3;

/// There are at least as many rounds, however long they take: the fewest whose extremes hold the true median in 19 of
/// 20 runs.
const LEAST: u32 = 6;

/// A turn that takes more than this part of the budget takes too long.
const A_SHARE: u32 = 4;

/// One figure of one turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The metric, the same word in every run.
    pub metric: String,
    /// What the value is.
    pub unit: Unit,
    /// The figure.
    pub value: f64,
}

impl Measured {
    /// A figure.
    pub fn new(metric: impl Into<String>, unit: Unit, value: f64) -> Self {
        Self { metric: metric.into(), unit, value }
    }
}

/// A contender's turn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Turn {
    /// Unique among this table's starts: for [`Contender::command`].
    pub number: u64,
    /// Whether it counts.
    pub counts: bool,
    /// How far the rounds that count have come, from 0 to 1: the same for all turns of a round, and spread evenly over
    /// the rounds.
    pub progress: f64,
}

/// What is told while measuring.
pub trait Watch {
    /// A case begins, and all that is still to be done will take about so long, it included.
    fn case(&mut self, _case: Case, _left: Duration) {}

    /// A turn begins: it is the `turn`th of `of`, warm-up included.
    fn turn(&mut self, contender: &str, turn: u32, of: u32);
}

/// Nobody looks.
impl Watch for () {
    fn turn(&mut self, _contender: &str, _turn: u32, _of: u32) {}
}

/// What came of all rounds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// A series for each contender and metric, in the contenders' order, then that of the metrics.
    pub series: Vec<Series>,
    /// What went wrong, each once, with how often.
    pub failures: Vec<Fact>,
    /// How many rounds there were, where no more fitted into the budget.
    pub fitted: Option<u32>,
    /// False where it was stopped before the last round.
    pub complete: bool,
}

/// Gives each contender its turns and does `take` in each. `Err` of that is a failure of this turn, which has no
/// sample then; what it says is kept.
///
/// Ratios are to the contender whose id is `baseline`, metric by metric. With a budget there are as many rounds as fit
/// into that time, by what the warm-up took, which is one round then.
pub fn measure(
    contenders: &[&dyn Contender],
    (schedule, budget): (Schedule, Option<Duration>),
    baseline: Option<&str>,
    (watch, stop): (&mut dyn Watch, &Stop),
    mut take: impl FnMut(&dyn Contender, Turn) -> Result<Vec<Measured>, String>,
) -> Found {
    let budget = budget.filter(|_| schedule.rounds > LEAST);
    let warm_up = if budget.is_some() { 1 } else { schedule.warm_up };
    let schedule = Schedule { warm_up, ..schedule };
    let begun = Instant::now();
    let mut rounds = schedule.rounds;
    let mut tallies: Vec<Tally> = contenders.iter().map(|_| Tally::default()).collect();
    let each = u32::try_from(contenders.len()).unwrap_or(u32::MAX);
    let (mut turns, mut finished) = (0, 0);
    let mut complete = true;
    'rounds: for round in schedule.of(contenders.len()) {
        if let (Some(0), Some(budget)) = (round.number, budget) {
            rounds = rounds.min(fitting(budget, begun.elapsed() / warm_up));
        }
        if round.number.is_some_and(|number| number >= rounds) {
            break;
        }
        for index in round.order {
            let (Some(contender), Some(tally)) = (contenders.get(index), tallies.get_mut(index))
            else {
                continue;
            };
            if stop.is_requested() {
                complete = false;
                break 'rounds;
            }
            turns += 1;
            let of = warm_up.saturating_add(rounds).saturating_mul(each);
            watch.turn(&contender.described().id, turns, of);
            let progress = (f64::from(round.number.unwrap_or(0)) + 0.5) / f64::from(rounds.max(1));
            let turn = Turn { number: turns.into(), counts: round.number.is_some(), progress };
            if tally.is_hopeless() {
                continue;
            }
            let start = Instant::now();
            let taken = take(*contender, turn);
            let too_long = budget.is_some_and(|budget| start.elapsed() > budget / A_SHARE);
            contender.clean_up(turn.number);
            if stop.is_requested() {
                // What was cut off says nothing about the contender.
                complete = false;
                break 'rounds;
            }
            tally.note(round.number, taken, too_long);
        }
        finished += u32::from(round.number.is_some());
    }
    let ids: Vec<&str> = contenders.iter().map(|one| one.described().id.as_str()).collect();
    let mut found = gather(&ids, tallies, finished);
    summarize(&mut found.series, baseline, schedule.seed);
    Found { complete, fitted: (rounds < schedule.rounds).then_some(rounds), ..found }
}

/// How many rounds of this length fit, no fewer than the least.
fn fitting(budget: Duration, a_round: Duration) -> u32 {
    let fit = budget.as_millis() / a_round.as_millis().max(1);
    u32::try_from(fit).unwrap_or(u32::MAX).max(LEAST)
}

/// What has come of one contender's turns.
#[derive(Default)]
struct Tally {
    /// By metric, in the order in which they were first seen: its unit, and its samples by round.
    metrics: Vec<(String, Unit, BTreeMap<u32, f64>)>,
    failures: BTreeMap<String, u32>,
    failed: u32,
    succeeded: bool,
}

impl Tally {
    fn is_hopeless(&self) -> bool {
        !self.succeeded && self.failed >= PATIENCE
    }

    /// A failure for which all others had to wait too long is as good as the last.
    fn note(&mut self, round: Option<u32>, taken: Result<Vec<Measured>, String>, too_long: bool) {
        match taken {
            Ok(all) => {
                self.succeeded = true;
                let Some(round) = round else { return };
                all.into_iter().for_each(|measured| self.add(round, measured));
            }
            Err(reason) => {
                self.failed += if too_long { PATIENCE } else { 1 };
                *self.failures.entry(reason).or_default() += 1;
            }
        }
    }

    fn add(&mut self, round: u32, Measured { metric, unit, value }: Measured) {
        let at = self.metrics.iter().position(|(name, ..)| *name == metric);
        let at = at.unwrap_or_else(|| {
            self.metrics.push((metric, unit, BTreeMap::new()));
            self.metrics.len() - 1
        });
        if let Some((_, _, samples)) = self.metrics.get_mut(at) {
            samples.insert(round, value);
        }
    }
}

/// Of rounds that were not finished nothing is kept: who had no turn in them has not failed.
fn gather(ids: &[&str], tallies: Vec<Tally>, finished: u32) -> Found {
    let mut found = Found::default();
    for (id, tally) in ids.iter().zip(tallies) {
        let given_up = tally.is_hopeless();
        for (metric, unit, samples) in tally.metrics {
            found.series.push(Series {
                contender: (*id).to_owned(),
                metric,
                unit,
                samples: (0..finished).map(|round| samples.get(&round).copied()).collect(),
                summary: None,
                ratio: None,
            });
        }
        for (reason, times) in tally.failures {
            let end = if given_up { ", and was not tried again" } else { "" };
            let value = format!("{reason} ({times} times{end})");
            found.failures.push(Fact { name: (*id).to_owned(), value });
        }
    }
    found
}

/// Fills in what the samples come to, and the ratios to the baseline's series of the same metric.
pub fn summarize(series: &mut [Series], baseline: Option<&str>, seed: u64) {
    let is_baseline = |one: &Series| Some(one.contender.as_str()) == baseline;
    let others: BTreeMap<String, Vec<Option<f64>>> = series
        .iter()
        .filter(|one| is_baseline(one))
        .map(|one| (one.metric.clone(), one.samples.clone()))
        .collect();
    for one in series {
        let samples: Vec<f64> = one.samples.iter().copied().flatten().collect();
        one.summary = statistics::summary(&samples, seed);
        one.ratio = match others.get(&one.metric) {
            Some(others) if !is_baseline(one) => statistics::ratio(&one.samples, others, seed),
            _ => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::bench::contender::Job;
    use crate::bench::results::{Contender as Described, Wall};

    struct Named(Described);

    impl Contender for Named {
        fn described(&self) -> &Described {
            &self.0
        }

        fn command(&self, _job: &Job, _number: u64) -> Result<Command, String> {
            Err("none is started".into())
        }
    }

    fn named(id: &str) -> Named {
        let (id, name, wall) = (id.to_owned(), String::new(), Wall::Process);
        Named(Described { id, name, wall, version: None, missing: None })
    }

    const SCHEDULE: Schedule = Schedule { warm_up: 2, rounds: 10, seed: 5 };

    /// What comes of one contender.
    fn alone(
        budget: Option<Duration>,
        mut take: impl FnMut(Turn) -> Result<Vec<Measured>, String>,
    ) -> Found {
        let hooks = (&mut () as &mut dyn Watch, &Stop::default());
        measure(&[&named("a")], (SCHEDULE, budget), None, hooks, |_, turn| take(turn))
    }

    fn milliseconds(value: f64) -> Vec<Measured> {
        vec![Measured::new("exit", Unit::Milliseconds, value)]
    }

    #[test]
    fn warm_up_does_not_count_and_each_has_a_sample_a_round() {
        let mut turns = Vec::new();
        let (a, b) = (named("a"), named("b"));
        let found = measure(
            &[&a, &b],
            (SCHEDULE, None),
            Some("a"),
            (&mut (), &Stop::default()),
            |one, turn| {
                turns.push(turn);
                let is_a = one.described().id == "a";
                Ok(milliseconds(if !turn.counts {
                    1e9
                } else if is_a {
                    2.0
                } else {
                    3.0
                }))
            },
        );
        assert_eq!(turns.iter().filter(|turn| !turn.counts).count(), 4);
        assert!(turns.windows(2).all(|pair| pair[0].number < pair[1].number));
        assert!(found.complete && found.failures.is_empty());
        let [a, b] = &found.series[..] else { panic!("{found:?}") };
        assert_eq!((a.samples.clone(), a.ratio), (vec![Some(2.0); 10], None));
        assert_eq!((b.samples.len(), b.ratio.unwrap().median.value), (10, 1.5));
    }

    #[test]
    fn a_failed_round_has_no_sample_and_is_told() {
        let (a, b) = (named("a"), named("b"));
        let found = measure(
            &[&a, &b],
            (SCHEDULE, None),
            Some("a"),
            (&mut (), &Stop::default()),
            |one, turn| {
                if one.described().id == "b" && turn.number % 5 == 0 {
                    return Err("it fell over".into());
                }
                Ok(milliseconds(1.0))
            },
        );
        let missing = found.series[1].samples.iter().filter(|sample| sample.is_none()).count();
        assert!(
            missing > 0 && found.series[1].summary.as_ref().unwrap().n as usize == 10 - missing
        );
        assert!(found.failures[0].value.starts_with("it fell over ("), "{:?}", found.failures);
    }

    #[test]
    fn who_never_succeeds_is_given_up() {
        let mut tried = 0;
        let found = alone(None, |_| {
            tried += 1;
            Err("never".into())
        });
        assert_eq!(tried, PATIENCE);
        assert!(found.series.is_empty() && found.failures[0].value.contains("not tried again"));
    }

    #[test]
    fn as_many_rounds_as_fit_but_six() {
        let seconds = Duration::from_secs;
        assert_eq!(fitting(seconds(60), seconds(5)), 12);
        assert_eq!(fitting(seconds(60), seconds(50)), LEAST);
        assert!(fitting(seconds(60), Duration::ZERO) > 10_000);
        let mut numbers = Vec::new();
        let found = alone(Some(Duration::ZERO), |turn| {
            numbers.push(turn.number);
            std::thread::sleep(Duration::from_millis(1));
            Ok(milliseconds(1.0))
        });
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!((found.fitted, found.complete), (Some(LEAST), true));
        assert_eq!(found.series[0].samples.len(), 6);
    }

    #[test]
    fn who_fails_and_takes_too_long_is_given_up() {
        let mut tried = 0;
        let found = alone(Some(Duration::from_millis(1)), |_| {
            tried += 1;
            std::thread::sleep(Duration::from_millis(1));
            Err("it was killed after 300 s".into())
        });
        assert_eq!((tried, found.failures.len()), (1, 1));
    }

    #[test]
    fn rounds_at_the_end_in_which_all_fail_are_rounds() {
        let found = alone(None, |turn| {
            if turn.number > 6 { Err("it fell over".into()) } else { Ok(milliseconds(1.0)) }
        });
        assert_eq!(found.series[0].samples.len(), 10);
        assert_eq!(found.series[0].summary.as_ref().unwrap().n, 4);
    }

    #[test]
    fn an_interruption_keeps_what_was_found() {
        let stop = Stop::default();
        let mut tried = 0;
        let found = measure(&[&named("a")], (SCHEDULE, None), None, (&mut (), &stop), |_, _| {
            tried += 1;
            if tried == 6 {
                stop.request();
            }
            Ok(milliseconds(1.0))
        });
        assert!(!found.complete);
        assert_eq!(found.series[0].samples, [Some(1.0); 3]);
    }
}
