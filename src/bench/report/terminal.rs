//! A run on the terminal: the figures, how they lie, and what they mean, in 80 columns.

use std::env;
use std::io::IsTerminal;

use super::svg::axis::Axis;
use super::svg::timelines::spans;
use super::{text, words};
use crate::bench::results::{Results, Series, Table, Timeline, Unit};
use crate::bench::start::LESS_OBSERVER;

/// What fits.
const WIDTH: usize = 80;

/// Letters of a plot: what the columns before it leave.
const PLOT: usize = 21;

/// What the reader's terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Letters beyond ASCII.
    pub unicode: bool,
    /// Colours and bold letters.
    pub colour: bool,
}

impl Look {
    /// That of stdout: colour on a terminal only, and not where NO_COLOR forbids it; Unicode where the locale
    /// has it.
    #[must_use]
    pub fn of_stdout() -> Self {
        let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
        Self {
            unicode: locale.is_some_and(|locale| is_utf8(&locale)),
            colour: std::io::stdout().is_terminal() && set("NO_COLOR").is_none(),
        }
    }
}

fn is_utf8(locale: &str) -> bool {
    let locale = locale.to_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// The summary of a run.
#[must_use]
pub fn summary(results: &Results, look: Look) -> String {
    let mut page = Page { text: String::new(), look };
    for caution in words::cautions(results) {
        page.caution(caution);
    }
    for table in &results.tables {
        page.table(table);
    }
    let missing = results.contenders.iter().filter(|contender| contender.missing.is_some());
    let missing: Vec<_> = missing
        .map(|contender| format!("{} {}", contender.id, words::took_part(contender)))
        .collect();
    if !missing.is_empty() {
        page.heading("Not measured");
        missing.iter().for_each(|contender| page.say(contender));
    }
    if !results.claims.is_empty() {
        page.heading("What textbooks claim");
        for claim in &results.claims {
            page.say(&format!("{} Off by at least: {}.", claim.claim, words::off_by(claim.factor)));
            page.say_in(&claim.measured, "    ");
            page.say_in(&claim.why, "    ");
        }
    }
    page.text.push('\n');
    let times = format!(
        "{} rounds, seed {}, {}. A plot's blocks are the higher the more rounds lie there.",
        results.runs,
        results.seed,
        words::duration(results.seconds)
    );
    page.dim(&text::wrapped(&words::plain(&times), WIDTH, ""));
    page.text
}

/// Text for a terminal that is being written.
struct Page {
    text: String,
    look: Look,
}

/// ECMA-48, SGR.
const BOLD: &str = "1";
const DIM: &str = "2";
const YELLOW: &str = "33";

impl Page {
    /// Adds text, as the terminal can show it.
    fn add(&mut self, sgr: Option<&str>, text: &str) {
        let text = if self.look.unicode { text.to_owned() } else { text::ascii(text) };
        match sgr.filter(|_| self.look.colour) {
            Some(sgr) => self.text.push_str(&format!("\x1b[{sgr}m{text}\x1b[m")),
            None => self.text.push_str(&text),
        }
    }

    fn dim(&mut self, text: &str) {
        self.add(Some(DIM), text);
    }

    fn heading(&mut self, heading: &str) {
        self.text.push('\n');
        self.add(Some(BOLD), &text::wrapped(&words::plain(heading), WIDTH, ""));
    }

    fn say(&mut self, what: &str) {
        self.say_in(what, "  ");
    }

    fn say_in(&mut self, what: &str, indent: &str) {
        self.add(None, &text::wrapped(&words::plain(what), WIDTH, indent));
    }

    fn caution(&mut self, caution: &str) {
        self.add(Some(YELLOW), &text::wrapped(&format!("! {}", words::plain(caution)), WIDTH, ""));
    }

    fn table(&mut self, table: &Table) {
        self.heading(&format!("{}, {} ({})", table.title, words::place(table.place), table.id));
        for (metric, unit, series) in words::metrics(table) {
            // They differ little, and the report has them.
            if !metric.ends_with(LESS_OBSERVER) {
                self.metric(table, metric, unit, &series);
            }
        }
        for timeline in &table.timelines {
            self.timeline(timeline);
        }
        for curve in &table.curves {
            let values: Vec<f64> = curve.points.iter().map(|(_, value)| *value).collect();
            let point = |(number, value): &(u32, f64)| {
                format!("{} at {number}", words::figure(*value, curve.unit))
            };
            let ends: Vec<_> = [curve.points.first(), curve.points.last()]
                .into_iter()
                .flatten()
                .map(point)
                .collect();
            self.say(&format!(
                "{}, {}: {} {}; {}",
                words::short(&curve.contender, 16),
                words::metric(&curve.metric),
                ends.join(" to "),
                text::growth(&values),
                curve.end
            ));
        }
        for finding in &table.findings {
            let found: Vec<_> =
                finding.found.iter().map(|(id, found)| format!("{id} {found}")).collect();
            self.say(&format!("{}: {}", finding.subject, found.join("; ")));
        }
        for failure in &table.failures {
            self.caution(&format!("{}: {}", failure.name, failure.value));
        }
    }

    fn metric(&mut self, table: &Table, metric: &str, unit: Unit, series: &[&Series]) {
        let axis = Axis::of(series.iter().flat_map(|series| samples(series)));
        let (low, high) = axis.ends();
        let log = if axis.is_log() { ", log" } else { "" };
        let [low, high] = [low, high].map(|end| words::figure(end, unit));
        let of = format!(
            "{} ({}; plot: {low}{} to {high}{log})",
            words::metric(metric),
            words::better(unit),
            axis.or_less()
        );
        self.say(&of);
        let ratio = if words::times_baseline(table).is_some() { "ratio" } else { "" };
        self.dim(&format!(
            "  {:16} {:>9} {:>15} {ratio:>7} {:>5}\n",
            "", "median", "95 % interval", "n"
        ));
        for series in series {
            let name = words::short(&series.contender, 16);
            let rounds = words::rounds(series);
            let Some(summary) = &series.summary else {
                self.add(None, &format!("  {name:16} no round succeeded\n"));
                continue;
            };
            let scale = words::Scale::of(summary.median.value, unit);
            let median = scale.figure(summary.median.value);
            let ends = words::ends(&summary.median, &scale);
            let ratio = series
                .ratio
                .as_ref()
                .map(|ratio| format!("{}×", words::digits(ratio.median.value)));
            let ratio = ratio.unwrap_or_default();
            let plot = text::density(&axis, samples(series), PLOT);
            let line = format!("  {name:16} {median:>9} {ends:>15} {ratio:>7} {rounds:>5} {plot}");
            self.add(None, &format!("{}\n", line.trim_end()));
        }
    }

    /// The phases that took longest.
    fn timeline(&mut self, timeline: &Timeline) {
        const SHOWN: usize = 3;
        let mut spans = spans(timeline);
        spans.sort_by(|a, b| b.took().total_cmp(&a.took()));
        let span = |span: &super::svg::timelines::Span<'_>| {
            format!(
                "{} {}",
                words::short(&span.phase.name, 40),
                words::figure(span.took(), timeline.unit)
            )
        };
        let longest: Vec<_> = spans.iter().take(SHOWN).map(span).collect();
        let (name, all) = (words::short(&timeline.contender, 20), spans.len());
        self.say(&format!("{name}'s longest phases, of {all}: {}", longest.join(", ")));
    }
}

fn samples<'a>(series: &'a Series) -> impl Iterator<Item = f64> + 'a {
    series.samples.iter().flatten().copied()
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    const PLAIN: Look = Look { unicode: true, colour: false };

    #[test]
    fn it_fits_and_says_what_was_measured() {
        let text = summary(&sample::results(), PLAIN);
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        for part in [
            "duplex-container",
            "28/30",
            "no round succeeded",
            "! This host has no",
            "Off by at least: 10 ×",
            "log)",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn where_there_is_ascii_alone_it_is_that_and_as_wide() {
        let ascii = summary(&sample::results(), Look { unicode: false, ..PLAIN });
        assert!(ascii.is_ascii());
        let unicode = summary(&sample::results(), PLAIN);
        let widths = |text: &str| text.lines().map(|line| line.chars().count()).collect::<Vec<_>>();
        assert_eq!(widths(&ascii), widths(&unicode));
    }

    #[test]
    fn colour_is_for_terminals_and_data_bring_none() {
        let has_escape = |look| summary(&sample::hostile(), look).contains('\x1b');
        assert!(!has_escape(PLAIN));
        assert!(has_escape(Look { colour: true, ..PLAIN }));
        let coloured = summary(&sample::hostile(), Look { colour: true, ..PLAIN });
        assert!(!coloured.contains("\x1b[2J"));
    }

    #[test]
    fn locales_are_known_by_their_character_set() {
        assert!(is_utf8("C.UTF-8") && is_utf8("de_DE.utf8"));
        assert!(!is_utf8("C") && !is_utf8("de_DE.ISO-8859-1"));
    }
}
