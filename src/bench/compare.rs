//! What changed between two runs beyond noise.
//!
//! A figure has changed when the 95 % intervals of both runs do not overlap, and the change (the quotient of the
//! medians) lies beyond the tolerance with such confidence that among all figures together a false alarm is as
//! rare as 1 in 20: the bootstrap interval of each of m figures that are compared is one of 1 - 0.05/m (Bonferroni). Where both runs
//! have ratios to a baseline of the same round, these are compared: a machine that was busier or is another then
//! does not count. Values themselves are compared on the same machine only, or where instructions were counted.

use serde::Serialize;

use super::draw::Draw;
use super::results::{Interval, Place, Results, Series, Table, Unit};
use super::statistics::{self, median, quantile};

/// How often samples are drawn anew for the interval of a change.
const RESAMPLES: usize = 50_000;

/// How rare a false alarm is among all figures together.
const ALARMS: f64 = 0.05;

/// With fewer rounds the samples of two equal runs lie apart too often.
const FEWEST: usize = 5;

/// The facts that make a machine another.
const IDENTITY: [&str; 4] =
    ["processor", "processors", "hardware virtualization", "this machine is itself virtual"];

/// The fact that is another in each run.
const LOAD: &str = "load at the start";

/// What became of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Beyond noise.
    Worse,
    /// Beyond noise.
    Better,
    /// Not beyond noise.
    Same,
    /// Fewer rounds than can tell.
    TooFewRounds,
}

/// By what a figure was compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The ratio to the baseline of the same round.
    Ratio,
    /// The value itself.
    Value,
}

/// A figure in both runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The table's id.
    pub table: String,
    /// The metric.
    pub metric: String,
    /// The contender's id.
    pub contender: String,
    /// What its values are.
    pub unit: Unit,
    /// By what it was compared.
    pub by: By,
    /// The median before: a ratio or a value.
    pub before: f64,
    /// The median after.
    pub after: f64,
    /// The quotient of the medians with its interval, where it was looked at closely.
    pub times: Option<Interval>,
    /// What became of it.
    pub verdict: Verdict,
}

/// All that two runs say about each other.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// Whether both were taken on the same kind of machine.
    pub same_machine: bool,
    /// What is to be known before the changes are believed.
    pub notes: Vec<String>,
    /// Every figure that both have.
    pub changes: Vec<Change>,
    /// Figures that the first has and that failed in the second.
    pub failed: Vec<String>,
    /// What was found out and is otherwise now.
    pub findings: Vec<String>,
}

impl Comparison {
    /// Whether something got worse, beyond noise.
    #[must_use]
    pub fn is_worse(&self) -> bool {
        !self.failed.is_empty() || self.count(Verdict::Worse) > 0
    }

    /// How many figures it became so.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.changes.iter().filter(|change| change.verdict == verdict).count()
    }
}

/// Compares two runs. A change of up to `tolerance` (0.02: 2 %) is none.
///
/// # Errors
/// They have nothing in common that can be compared; says why.
pub fn compare(before: &Results, after: &Results, tolerance: f64) -> Result<Comparison, String> {
    let same_machine = IDENTITY.iter().all(|name| fact(before, name) == fact(after, name));
    let mut found =
        Comparison { same_machine, notes: notes(before, after), ..Comparison::default() };
    let mut suspects = Vec::new();
    for old in &before.tables {
        let Some(new) = after.tables.iter().find(|new| new.id == old.id && new.place == old.place)
        else {
            found.notes.push(format!("{} is in the first only.", old.id));
            continue;
        };
        for series in &old.series {
            let figure = format!("{}: {} of {}", old.id, series.metric, series.contender);
            let other = same(new, series).filter(|other| other.summary.is_some());
            match other {
                Some(other) => suspects.extend(Pair::of((old, series), (new, other), same_machine)),
                // Who fails in every round has no series at all.
                None if series.summary.is_some() && has_failed(new, &series.contender) => {
                    found.failed.push(figure);
                }
                None if series.summary.is_some() => {
                    found.notes.push(format!("{figure} is in the first only."));
                }
                None => {}
            }
        }
        found.findings.extend(changed_findings(old, new));
    }
    if suspects.is_empty() && found.failed.is_empty() {
        let machines = if same_machine {
            ""
        } else {
            " They are of different machines, and only ratios can be compared then."
        };
        return Err(format!("the two reports have no figure in common.{machines}"));
    }
    let only_new =
        after.tables.iter().filter(|new| !before.tables.iter().any(|old| old.id == new.id));
    found.notes.extend(only_new.map(|new| format!("{} is in the second only.", new.id)));
    let several = suspects.len().max(1);
    #[expect(clippy::cast_precision_loss, reason = "figures of a report")]
    let tail = ALARMS / 2.0 / several as f64;
    found.changes =
        suspects.iter().map(|pair| pair.judge(tail, tolerance, before.seed ^ after.seed)).collect();
    Ok(found)
}

fn fact<'a>(results: &'a Results, name: &str) -> Option<&'a str> {
    let mut facts = results.host.iter();
    facts.find(|fact| fact.name == name).map(|fact| fact.value.as_str())
}

/// How the runs differ but for their figures.
fn notes(before: &Results, after: &Results) -> Vec<String> {
    let mut notes = Vec::new();
    for (which, results) in [("first", before), ("second", after)] {
        if !results.complete {
            notes.push(format!("The {which} run was interrupted."));
        }
    }
    if before.duplex != after.duplex {
        notes.push(format!("duplex: {}, then {}.", before.duplex, after.duplex));
    }
    for old in before.host.iter().filter(|fact| fact.name != LOAD) {
        match fact(after, &old.name) {
            Some(new) if new != old.value => {
                notes.push(format!("{}: {}, then {new}.", old.name, old.value))
            }
            _ => {}
        }
    }
    notes
}

/// Whether it is told there that this contender, or all of them, failed.
fn has_failed(table: &Table, contender: &str) -> bool {
    table.failures.iter().any(|failure| failure.name == contender || failure.name == "all")
}

fn same<'a>(table: &'a Table, series: &Series) -> Option<&'a Series> {
    table.series.iter().find(|other| {
        (&other.contender, &other.metric, other.unit)
            == (&series.contender, &series.metric, series.unit)
    })
}

fn changed_findings(old: &Table, new: &Table) -> Vec<String> {
    let mut changed = Vec::new();
    for finding in &old.findings {
        let Some(other) = new.findings.iter().find(|other| other.subject == finding.subject) else {
            continue;
        };
        for (id, found) in &finding.found {
            match other.found.get(id) {
                Some(now) if now != found => {
                    changed.push(format!(
                        "{}: {} of {id}: {found}, then {now}",
                        old.id, finding.subject
                    ));
                }
                _ => {}
            }
        }
    }
    changed
}

/// A figure of both runs, before it is judged.
struct Pair<'a> {
    table: &'a Table,
    series: &'a Series,
    by: By,
    samples: [Vec<f64>; 2],
    /// The medians with their 95 % intervals.
    medians: [Interval; 2],
    /// Whether the same work gives the same figure each time, or nearly.
    exact: bool,
}

impl<'a> Pair<'a> {
    /// The ratio where both have one, else the value where the machine is the same. The baseline is none to judge:
    /// it is the machine.
    fn of(
        old: (&'a Table, &'a Series),
        new: (&Table, &Series),
        same_machine: bool,
    ) -> Option<Self> {
        let (table, series) = old;
        let counted = table.place == Place::Counting;
        let exact = counted || series.unit == Unit::Count;
        let pair = |by, samples, medians| Self { table, series, by, samples, medians, exact };
        // A count is what it is, whatever the baseline's.
        if let ((Some(before), Some(after)), false) = ((&series.ratio, &new.1.ratio), exact) {
            let samples = [ratios(table, series), ratios(new.0, new.1)];
            if samples.iter().all(|samples| !samples.is_empty()) {
                return Some(pair(By::Ratio, samples, [before.median, after.median]));
            }
        }
        let is_baseline = table.baseline.as_ref() == Some(&series.contender);
        if !counted && (is_baseline || !same_machine) {
            return None;
        }
        let medians = [series.summary.as_ref()?.median, new.1.summary.as_ref()?.median];
        let samples =
            [series, new.1].map(|series| series.samples.iter().flatten().copied().collect());
        Some(pair(By::Value, samples, medians))
    }

    fn lie_apart(&self) -> bool {
        let [before, after] = &self.medians;
        before.high < after.low || after.high < before.low
    }

    fn judge(&self, tail: f64, tolerance: f64, seed: u64) -> Change {
        let few = self.samples.iter().any(|samples| samples.len() < FEWEST) && !self.exact;
        let times = self.lie_apart().then(|| times(&self.samples, tail, seed)).flatten();
        let [before, after] = self.medians.map(|median| median.value);
        let more = match &times {
            Some(times) if times.low > 1.0 + tolerance => Some(true),
            Some(times) if times.high < 1.0 / (1.0 + tolerance) => Some(false),
            Some(_) => None,
            // Of figures that are not above zero there is no quotient.
            None => (self.lie_apart() && (before <= 0.0 || after <= 0.0)).then_some(after > before),
        };
        let verdict = match more {
            _ if few => Verdict::TooFewRounds,
            None => Verdict::Same,
            Some(more) if more == self.series.unit.less_is_better() => Verdict::Worse,
            Some(_) => Verdict::Better,
        };
        Change {
            table: self.table.id.clone(),
            metric: self.series.metric.clone(),
            contender: self.series.contender.clone(),
            unit: self.series.unit,
            by: self.by,
            before,
            after,
            times,
            verdict,
        }
    }
}

/// The rounds' ratios to the table's baseline.
fn ratios(table: &Table, series: &Series) -> Vec<f64> {
    let baseline = table.baseline.as_deref().unwrap_or_default();
    let of_baseline =
        |other: &&Series| other.contender == baseline && other.metric == series.metric;
    let Some(baseline) = table.series.iter().find(of_baseline) else { return Vec::new() };
    statistics::ratios(&series.samples, &baseline.samples)
}

/// The quotient of the medians and where it lies but for `tail` on either side. `None` where one is not above zero.
fn times([before, after]: &[Vec<f64>; 2], tail: f64, seed: u64) -> Option<Interval> {
    let value = median(after) / median(before);
    if before.iter().chain(after).any(|sample| *sample <= 0.0) || !value.is_finite() {
        return None;
    }
    let mut draw = Draw::seeded(seed);
    let mut drawn: Vec<f64> =
        (0..RESAMPLES).map(|_| again(after, &mut draw) / again(before, &mut draw)).collect();
    drawn.sort_unstable_by(f64::total_cmp);
    Some(Interval { value, low: quantile(&drawn, tail), high: quantile(&drawn, 1.0 - tail) })
}

/// The median of samples drawn with replacement.
fn again(samples: &[f64], draw: &mut Draw) -> f64 {
    let one = |_| samples.get(draw.below(samples.len())).copied().unwrap_or(f64::NAN);
    let drawn: Vec<f64> = (0..samples.len()).map(one).collect();
    median(&drawn)
}

#[cfg(test)]
mod tests;
