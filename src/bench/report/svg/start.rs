//! One picture for a first look: how long each contender's start takes.

use super::strips::{self, draw};
use super::{Anchor, Caption, Frame, Svg};
use crate::bench::report::words::{self, estimate, short};
use crate::bench::results::{Case, Place, Results, Series, Table, Unit};

/// Its own frame: what GitHub shows a README's pictures in is as wide.
const FRAME: Frame = Frame { name: "start", width: 830.0, names: 160.0, figures: 150.0 };

/// The empty border.
const BORDER: f64 = 20.0;

/// The metric that a start is judged by.
const METRIC: &str = "first_byte";

/// How long from the start of the process to the first byte of the workload, for each contender, each place a
/// field of its own. `None` where no start was measured.
///
/// It has its own background, so that it can be read on a light page and on a dark one.
#[must_use]
pub fn start_svg(results: &Results) -> Option<String> {
    let fields = fields(results);
    let mut svg = Svg::default();
    let mut y = BORDER;
    let mut described = Vec::new();
    svg.shift(BORDER);
    svg.text("big", Anchor::Start, (0.0, y + 14.0), TITLE);
    y += 36.0;
    for (table, unit, series) in &fields {
        let note = if table.place == Place::Host {
            ""
        } else {
            " (compare within, not with a real machine)"
        };
        let heading = format!("{}, {}{note}", short(&table.title, 60), words::place(table.place));
        svg.text("m", Anchor::Start, (0.0, y + 12.0), &heading);
        y = draw(&mut svg, &FRAME, y + 22.0, *unit, &strips::strips(results, series)) + 8.0;
        for series in series {
            let Some(summary) = &series.summary else { continue };
            described.push(format!("{} {}", series.contender, estimate(&summary.median, *unit)));
        }
    }
    if described.is_empty() {
        return None;
    }
    let made = format!(
        "{} · seed {} · duplex {}. Each dot is a round, the line the median, the band its 95 % interval.",
        machine(results),
        results.seed,
        short(&results.duplex, 20)
    );
    svg.text("m", Anchor::Start, (0.0, y + 10.0), &short(&made, 138));
    svg.unshift();
    let caption =
        Caption { id: String::new(), title: TITLE.to_owned(), description: described.join(", ") };
    Some(svg.file(FRAME.width + 2.0 * BORDER, y + 14.0 + BORDER, &caption))
}

const TITLE: &str = "Start: from before fork to the first byte that the same program prints";

/// The figures to show: of each place the first table of starts that has them.
fn fields(results: &Results) -> Vec<(&Table, Unit, Vec<&Series>)> {
    let mut fields: Vec<(&Table, Unit, Vec<&Series>)> = Vec::new();
    for table in results.tables.iter().filter(|table| table.case == Case::Start) {
        let known = fields.iter().any(|(known, ..)| known.place == table.place);
        let metric = words::metrics(table).into_iter().find(|(metric, ..)| *metric == METRIC);
        if let (false, Some((_, unit, series))) = (known, metric) {
            // The observer's own share is measured too, and is no contender.
            let listed =
                |series: &&Series| results.contenders.iter().any(|one| one.id == series.contender);
            fields.push((table, unit, series.into_iter().filter(listed).collect()));
        }
    }
    fields
}

/// The machine in a few words.
fn machine(results: &Results) -> String {
    let fact = |name: &str| {
        let fact = results.host.iter().find(|fact| fact.name == name);
        fact.map_or("unknown".to_owned(), |fact| short(&fact.value, 50))
    };
    format!("{}, processors: {}", fact("processor"), fact("processors"))
}

#[cfg(test)]
mod tests {
    use super::super::super::sample;
    use super::*;

    #[test]
    fn each_place_has_a_field_and_each_contender_a_row() {
        let picture = start_svg(&sample::results()).unwrap();
        for part in [
            "on this host",
            "in the testbed",
            "duplex-vm",
            "podman",
            "6.31 ms, n 30",
            "logarithmic",
        ] {
            assert!(picture.contains(part), "{part}");
        }
        // Metrics other than the first byte have none.
        assert_eq!(picture.matches(">crun<").count(), 1);
        assert!(picture.starts_with("<svg xmlns=") && !picture.contains("http://www.w3.org/1999"));
    }

    #[test]
    fn without_starts_there_is_no_picture() {
        let mut results = sample::results();
        results.tables.retain(|table| table.case != Case::Start);
        assert_eq!(start_svg(&results), None);
    }

    #[test]
    fn a_hostile_report_makes_a_picture_that_is_text_alone() {
        let mut results = sample::hostile();
        for series in results.tables.iter_mut().flat_map(|table| &mut table.series) {
            series.metric = METRIC.to_owned();
        }
        let picture = start_svg(&results).unwrap();
        assert!(!picture.contains("<script") && !picture.contains('\0'));
    }
}
