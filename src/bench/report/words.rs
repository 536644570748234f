//! How reports say what numbers and names mean: three figures, the unit that fits, the interval beside.

use crate::bench::results::{
    Case, Contender, Interval, Place, Results, Series, Summary, Table, Unit, Wall,
};

/// What the marks and words of a report mean.
pub(crate) const HOW_TO_READ: &str = "All contenders of a table ran on the same machine, in an order drawn anew for each \
    round. A figure is the median of its rounds; the interval beside it holds the true median with 95 % confidence \
    (bootstrap). Ratios are taken within rounds, so that what disturbs the machine disturbs both sides, and compare \
    best between runs. Outliers lie more than one and a half interquartile ranges beyond the quartiles; they are \
    shown and counted. n is how many rounds succeeded.";

/// Of a run that did not come to its end.
const INTERRUPTED: &str = "It was interrupted: what is here was measured, more was to come.";

/// Thousands and their names: a value is shown in the largest that it reaches.
const PREFIXES: [(f64, &str); 4] = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];

/// A unit as one value is to be read in it: the other values of its interval follow.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    divisor: f64,
    suffix: String,
    /// Whether whole numbers are exact, and not medians that happen to be whole.
    counted: bool,
}

impl Scale {
    /// The one that shows `value` with few digits.
    pub(crate) fn of(value: f64, unit: Unit) -> Self {
        let size = value.abs();
        let scale = |divisor: f64, suffix: &str| Self {
            divisor,
            suffix: suffix.to_owned(),
            counted: false,
        };
        if unit == Unit::Milliseconds {
            return match size {
                _ if size >= 120_000.0 => scale(60_000.0, " min"),
                _ if size >= 1000.0 => scale(1000.0, " s"),
                _ if size > 0.0 && size < 0.1 => scale(1e-3, " µs"),
                _ => scale(1.0, " ms"),
            };
        }
        let name = match unit {
            Unit::Bytes => "B",
            Unit::BytesPerSecond => "B/s",
            Unit::PerSecond => "/s",
            Unit::MillionInstructions => return scale(1.0, " M"),
            Unit::Count | Unit::Milliseconds => "",
        };
        // What is counted is shown to the last one while that can be read.
        let least = if unit == Unit::Count { 1e5 } else { 0.0 };
        let prefix = PREFIXES.iter().find(|(thousands, _)| size >= *thousands && size >= least);
        let (divisor, prefix) =
            prefix.map_or((1.0, ""), |(thousands, prefix)| (*thousands, *prefix));
        let gap = if prefix.is_empty() && matches!(name, "" | "/s") { "" } else { " " };
        let counted = divisor == 1.0 && matches!(unit, Unit::Count | Unit::Bytes);
        Self { divisor, suffix: format!("{gap}{prefix}{name}"), counted }
    }

    /// The number alone.
    pub(crate) fn number(&self, value: f64) -> String {
        if self.counted && value.fract() == 0.0 {
            return format!("{value:.0}");
        }
        digits(value / self.divisor)
    }

    /// The number and its unit.
    pub(crate) fn figure(&self, value: f64) -> String {
        format!("{}{}", self.number(value), self.suffix)
    }
}

/// Three figures of a number.
pub(crate) fn digits(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        "–".to_owned()
    } else if value == 0.0 {
        "0".to_owned()
    } else if size >= 1e6 {
        format!("{value:.0e}")
    } else if size >= 99.95 {
        format!("{value:.0}")
    } else if size >= 9.995 {
        format!("{value:.1}")
    } else if size >= 0.9995 {
        format!("{value:.2}")
    } else if size >= 0.001 {
        format!("{value:.3}")
    } else {
        format!("{value:.1e}")
    }
}

/// A value with its unit: `6.71 ms`.
pub(crate) fn figure(value: f64, unit: Unit) -> String {
    Scale::of(value, unit).figure(value)
}

/// An estimate and where it lies: `6.71 ms (6.52 to 6.90)`.
pub(crate) fn estimate(interval: &Interval, unit: Unit) -> String {
    let scale = Scale::of(interval.value, unit);
    let figure = scale.figure(interval.value);
    if is_point(interval) { figure } else { format!("{figure} ({})", ends(interval, &scale)) }
}

/// The ends of an interval, in the unit of its estimate.
pub(crate) fn ends(interval: &Interval, scale: &Scale) -> String {
    format!("{} to {}", scale.number(interval.low), scale.number(interval.high))
}

/// Whether nothing is known of how far off an estimate may be, as of one round, or it is the same in all.
fn is_point(interval: &Interval) -> bool {
    interval.low == interval.high
}

/// `1.57 (1.49 to 1.66)`.
pub(crate) fn ratio(interval: &Interval) -> String {
    if is_point(interval) {
        return digits(interval.value);
    }
    format!("{} ({} to {})", digits(interval.value), digits(interval.low), digits(interval.high))
}

/// A factor, in two figures: nobody asks whether it is 148 or 149.
pub(crate) fn factor(value: f64) -> String {
    let mut scale = 1.0;
    while value / scale >= 100.0 {
        scale *= 10.0;
    }
    let rounded = (value / scale).round() * scale;
    if value < 10.0 { format!("{value:.1}") } else { format!("{rounded:.0}") }
}

/// What the numbers of a unit are, for an axis or a caption.
pub(crate) fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Milliseconds => "time",
        Unit::MillionInstructions => "million instructions",
        Unit::PerSecond => "times a second",
        Unit::Bytes => "bytes",
        Unit::BytesPerSecond => "bytes a second",
        Unit::Count => "number",
    }
}

/// Which way is better.
pub(crate) fn better(unit: Unit) -> &'static str {
    if unit.less_is_better() { "less is better" } else { "more is better" }
}

/// A metric's word as words.
pub(crate) fn metric(metric: &str) -> String {
    metric.replace('_', " ")
}

/// Where, in a few words.
pub(crate) fn place(place: Place) -> &'static str {
    match place {
        Place::Host => "on this host",
        Place::Testbed => "in the testbed, emulated",
        Place::Counting => "in the testbed, instructions counted",
    }
}

/// The kind of a contender's wall.
pub(crate) fn wall(wall: Wall) -> &'static str {
    match wall {
        Wall::Process => "none (process)",
        Wall::Container => "container",
        Wall::Sandbox => "sandbox",
        Wall::Vm => "VM",
    }
}

/// A case's name.
pub(crate) fn case(case: Case) -> &'static str {
    match case {
        Case::Start => "start",
        Case::Cpu => "cpu",
        Case::Memory => "memory",
        Case::Disk => "disk",
        Case::Net => "net",
        Case::Density => "density",
        Case::Noise => "noise",
        Case::Isolation => "isolation",
        Case::Lab => "lab",
    }
}

/// Seconds as one reads them: `41 s`, `12 min 5 s`.
pub(crate) fn duration(seconds: f64) -> String {
    let seconds = seconds.round();
    if seconds < 120.0 {
        return format!("{seconds:.0} s");
    }
    let minutes = (seconds / 60.0).floor();
    format!("{minutes:.0} min {:.0} s", seconds - minutes * 60.0)
}

/// `60`, or `58/60` where rounds failed.
pub(crate) fn rounds(series: &Series) -> String {
    let good = series.samples.iter().flatten().count();
    let all = series.samples.len();
    if good == all { good.to_string() } else { format!("{good}/{all}") }
}

/// The series of a table by metric, in the order in which metrics come.
pub(crate) fn metrics(table: &Table) -> Vec<(&str, Unit, Vec<&Series>)> {
    let mut metrics: Vec<(&str, Unit, Vec<&Series>)> = Vec::new();
    for series in &table.series {
        let known = metrics
            .iter_mut()
            .find(|(metric, unit, _)| *metric == series.metric && *unit == series.unit);
        match known {
            Some((.., all)) => all.push(series),
            None => metrics.push((&series.metric, series.unit, vec![series])),
        }
    }
    metrics
}

/// The kind of wall of a contender that a table names.
pub(crate) fn wall_of(results: &Results, id: &str) -> Wall {
    let known = results.contenders.iter().find(|contender| contender.id == id);
    known.map_or(Wall::Process, |contender| contender.wall)
}

/// What the figures can't tell, for the top.
pub(crate) fn cautions(results: &Results) -> Vec<&str> {
    let interrupted = (!results.complete).then_some(INTERRUPTED);
    interrupted.into_iter().chain(results.cautions.iter().map(String::as_str)).collect()
}

/// What a claim's factor says.
pub(crate) fn off_by(off: Option<f64>) -> String {
    match off {
        Some(1.0) => "holds".to_owned(),
        Some(off) => format!("{} ×", factor(off)),
        None => "cannot be judged here".to_owned(),
    }
}

/// Whether a contender took part, or why not.
pub(crate) fn took_part(contender: &Contender) -> String {
    contender.missing.as_ref().map_or("yes".to_owned(), |why| format!("no: {why}"))
}

/// The heading of ratios, where a table has any.
pub(crate) fn times_baseline(table: &Table) -> Option<String> {
    let has_some = table.series.iter().any(|series| series.ratio.is_some());
    let baseline = table.baseline.as_ref().filter(|_| has_some)?;
    Some(format!("times {baseline}"))
}

/// The figures of a series, as a table has them after its name: n, median, ratio where the table has one, p95, p99,
/// least and most, number of outliers.
pub(crate) fn cells(series: &Series, with_ratio: bool) -> Vec<String> {
    let nothing = || "–".to_owned();
    let unit = series.unit;
    let summary = series.summary.as_ref();
    let of = |figure: &dyn Fn(&Summary) -> String| summary.map_or_else(nothing, figure);
    let ratio = || series.ratio.as_ref().map_or_else(nothing, |known| ratio(&known.median));
    let mut cells = vec![rounds(series), of(&|summary| estimate(&summary.median, unit))];
    cells.extend(with_ratio.then(ratio));
    cells.extend([
        of(&|summary| estimate(&summary.p95, unit)),
        of(&|summary| estimate(&summary.p99, unit)),
        of(&|summary| format!("{} to {}", figure(summary.least, unit), figure(summary.most, unit))),
        of(&|summary| summary.outliers.len().to_string()),
    ]);
    cells
}

/// Who found something out, in the order of the table's series and then of the alphabet.
pub(crate) fn finders(table: &Table) -> Vec<&str> {
    let mut finders: Vec<&str> = Vec::new();
    let of_series = table.series.iter().map(|series| series.contender.as_str());
    let of_findings = table.findings.iter().flat_map(|finding| finding.found.keys());
    let all = of_series.chain(of_findings.map(String::as_str));
    for id in all {
        let found = table.findings.iter().any(|finding| finding.found.contains_key(id));
        if found && !finders.contains(&id) {
            finders.push(id);
        }
    }
    finders
}

/// Text that may come from anywhere, for people's eyes: what would steer a terminal or turn the direction of
/// writing is replaced, but for line breaks and tabs.
pub(crate) fn plain(text: &str) -> String {
    text.replace(steers, "\u{fffd}")
}

/// Whether a letter, of the basic plane as all of these, does something instead of being shown.
pub(crate) fn steers(letter: char) -> bool {
    (letter.is_control() && !matches!(letter, '\n' | '\t'))
        || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// The first `most` letters in one line, with a sign where there were more.
pub(crate) fn short(text: &str, most: usize) -> String {
    let line = plain(text).replace(['\n', '\t'], " ");
    if line.chars().count() <= most {
        return line;
    }
    line.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_the_unit_that_fits() {
        for (value, unit, text) in [
            (6.7123, Unit::Milliseconds, "6.71 ms"),
            (0.0421, Unit::Milliseconds, "42.1 µs"),
            (0.42, Unit::Milliseconds, "0.420 ms"),
            (0.0, Unit::Milliseconds, "0 ms"),
            (-0.3, Unit::Milliseconds, "-0.300 ms"),
            (2500.0, Unit::Milliseconds, "2.50 s"),
            (300_000.0, Unit::Milliseconds, "5.00 min"),
            (83.46, Unit::MillionInstructions, "83.5 M"),
            (12_400_000.0, Unit::Bytes, "12.4 MB"),
            (980.0, Unit::Bytes, "980 B"),
            (3.2e9, Unit::BytesPerSecond, "3.20 GB/s"),
            (1_234_567.0, Unit::PerSecond, "1.23 M/s"),
            (7.5, Unit::PerSecond, "7.50/s"),
            (312.0, Unit::Count, "312"),
            (12_345.0, Unit::Count, "12345"),
            (99.96, Unit::Milliseconds, "100 ms"),
            (f64::NAN, Unit::Count, "–"),
        ] {
            assert_eq!(figure(value, unit), text, "{value} {unit:?}");
        }
    }

    #[test]
    fn an_interval_has_the_unit_of_its_estimate() {
        let interval = Interval { value: 1010.0, low: 990.0, high: 1040.0 };
        assert_eq!(estimate(&interval, Unit::Milliseconds), "1.01 s (0.990 to 1.04)");
    }

    #[test]
    fn factors_are_rounded() {
        for (value, text) in
            [(1.0, "1.0"), (7.44, "7.4"), (14.6, "15"), (149.3, "150"), (29_876.0, "30000")]
        {
            assert_eq!(factor(value), text);
        }
    }

    #[test]
    fn text_steers_nothing() {
        assert_eq!(plain("a\x1b[2J\u{202e}b\nü"), "a\u{fffd}[2J\u{fffd}b\nü");
        assert_eq!(short("a longer word", 6), "a lon…");
    }
}
