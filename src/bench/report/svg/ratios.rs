//! How many times another's figure each one is: a point with its interval, on an axis about 1.

use super::axis::{Axis, What};
use super::strips::class;
use super::{Anchor, Caption, Frame, LINE, Svg, for_all_widths};
use crate::bench::report::words::{self, short};
use crate::bench::results::{Ratio, Results, Series, Table, Wall};

/// Height of a row.
const ROW: f64 = 22.0;

/// The ratios of a metric.
struct Group<'a> {
    metric: String,
    rows: Vec<Row<'a>>,
}

struct Row<'a> {
    name: &'a str,
    wall: Wall,
    ratio: &'a Ratio,
}

/// All ratios of a table on one axis; nothing where it has none.
pub(crate) fn chart(id: &str, results: &Results, table: &Table) -> Option<String> {
    let baseline = table.baseline.as_deref()?;
    let groups = groups(results, table);
    if groups.is_empty() {
        return None;
    }
    let title = format!("{}: times {baseline}", table.title);
    let described = |group: &Group<'_>| {
        let row = |row: &Row<'_>| format!("{} {}", row.name, words::ratio(&row.ratio.median));
        let rows: Vec<_> = group.rows.iter().map(row).collect();
        format!("{}: {}.", group.metric, rows.join(", "))
    };
    let caption = Caption {
        id: id.to_owned(),
        title,
        description: groups.iter().map(described).collect::<Vec<_>>().join(" "),
    };
    let all = groups.iter().flat_map(|group| &group.rows);
    let ends =
        all.flat_map(|row| [row.ratio.median.low, row.ratio.median.high, row.ratio.median.value]);
    let axis = Axis::of_ratios(ends);
    Some(for_all_widths(|frame| {
        let mut svg = Svg::default();
        let bottom = draw(&mut svg, frame, &axis, baseline, &groups);
        svg.embedded(frame, bottom, &caption)
    }))
}

fn groups<'a>(results: &Results, table: &'a Table) -> Vec<Group<'a>> {
    let row = |series: &'a Series| {
        let wall = words::wall_of(results, &series.contender);
        Some(Row { name: &series.contender, wall, ratio: series.ratio.as_ref()? })
    };
    let group = |(metric, unit, series): (&str, _, Vec<&'a Series>)| Group {
        metric: format!("{} ({})", words::metric(metric), words::better(unit)),
        rows: series.into_iter().filter_map(row).collect(),
    };
    let groups = words::metrics(table).into_iter().map(group);
    groups.filter(|group| !group.rows.is_empty()).collect()
}

fn draw(svg: &mut Svg, frame: &Frame, axis: &Axis, baseline: &str, groups: &[Group<'_>]) -> f64 {
    let row = if frame.stacked() { ROW + LINE } else { ROW };
    #[expect(clippy::cast_precision_loss, reason = "rows")]
    let bottom: f64 = groups.iter().map(|group| LINE + 8.0 + row * group.rows.len() as f64).sum();
    let what = What::Ratios(format!("times {}", short(baseline, frame.letters())));
    let end = axis.draw(svg, frame, (0.0, bottom), &what);
    let one = frame.x(axis.fraction(1.0));
    svg.line("one", (one, 0.0), (one, bottom));
    let mut y = 0.0;
    for group in groups {
        svg.text("m h", Anchor::Start, (0.0, y + 15.0), &short(&group.metric, 40));
        y += LINE + 8.0;
        for row_of in &group.rows {
            row_of.draw(svg, frame, axis, y);
            y += row;
        }
    }
    end
}

impl Row<'_> {
    fn draw(&self, svg: &mut Svg, frame: &Frame, axis: &Axis, top: f64) {
        let interval = &self.ratio.median;
        let figures = format!("{}, n {}", words::ratio(interval), self.ratio.n);
        let name = short(self.name, frame.letters());
        let middle = if frame.stacked() {
            svg.text("", Anchor::Start, (0.0, top + 12.0), &name);
            svg.text("m", Anchor::End, (frame.width, top + 12.0), &figures);
            top + LINE + ROW / 2.0 - 3.0
        } else {
            let base = top + ROW / 2.0 + 4.0;
            svg.text("", Anchor::End, (frame.names - 4.0, base), &name);
            svg.text("m", Anchor::Start, (frame.right() + 18.0, base), &figures);
            top + ROW / 2.0
        };
        let class = class(self.wall);
        let x = |value: f64| frame.x(axis.fraction(value));
        let (low, high) = (x(interval.low), x(interval.high));
        svg.line(&format!("bar s-{class}"), (low, middle), (high, middle));
        for end in [low, high] {
            svg.line(&format!("bar s-{class}"), (end, middle - 4.0), (end, middle + 4.0));
        }
        svg.circle(&format!("f-{class}"), (x(interval.value), middle), 4.0);
    }
}
