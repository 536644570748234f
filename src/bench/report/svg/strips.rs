//! Distributions: each round a dot, the median a line, its interval a band; outliers have rings.

use super::axis::{Axis, What};
use super::{Anchor, Caption, Frame, LINE, Svg, for_all_widths};
use crate::bench::report::words::{self, estimate, rounds, short};
use crate::bench::results::{Results, Series, Summary, Unit, Wall};

/// Half of the height that a row's dots have.
const HALF: f64 = 13.0;

/// A dot's diameter.
const DOT: f64 = 4.4;

/// One contender's samples.
pub(crate) struct Strip<'a> {
    pub(crate) name: &'a str,
    pub(crate) wall: Wall,
    pub(crate) series: &'a Series,
}

/// The rows of a metric.
pub(crate) fn strips<'a>(results: &Results, series: &[&'a Series]) -> Vec<Strip<'a>> {
    let strip = |series: &&'a Series| Strip {
        name: &series.contender,
        wall: words::wall_of(results, &series.contender),
        series,
    };
    series.iter().map(strip).collect()
}

/// All rows on one axis.
pub(crate) fn chart(id: &str, title: &str, unit: Unit, strips: &[Strip<'_>]) -> String {
    let caption = Caption {
        id: id.to_owned(),
        title: title.to_owned(),
        description: strips.iter().map(|strip| strip.described(unit)).collect::<Vec<_>>().join(" "),
    };
    for_all_widths(|frame| {
        let mut svg = Svg::default();
        let bottom = draw(&mut svg, frame, 0.0, unit, strips);
        svg.embedded(frame, bottom, &caption)
    })
}

/// Draws the rows and their axis from `top` on; returns where they end.
pub(crate) fn draw(
    svg: &mut Svg,
    frame: &Frame,
    top: f64,
    unit: Unit,
    strips: &[Strip<'_>],
) -> f64 {
    let axis = Axis::of(strips.iter().flat_map(|strip| strip.values()));
    let above = if frame.stacked() { LINE + 2.0 } else { 0.0 };
    let row = above + 2.0 * HALF + 6.0;
    #[expect(clippy::cast_precision_loss, reason = "rows")]
    let bottom = top + row * strips.len() as f64 + 4.0;
    let title = format!("{}, {}", words::unit(unit), words::better(unit));
    // First, so that what was measured lies on the lines.
    let end = axis.draw(svg, frame, (top, bottom), &What::Values(unit, title));
    let mut y = top;
    for strip in strips {
        strip.draw(svg, frame, &axis, y, unit);
        y += row;
    }
    end
}

impl Strip<'_> {
    fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.series.samples.iter().flatten().copied()
    }

    fn summary(&self) -> Option<&Summary> {
        self.series.summary.as_ref()
    }

    /// In a sentence.
    fn described(&self, unit: Unit) -> String {
        let name = self.name;
        match self.summary() {
            Some(summary) => format!(
                "{name}: median {}, {} rounds, {} outliers.",
                estimate(&summary.median, unit),
                rounds(self.series),
                summary.outliers.len()
            ),
            None => format!("{name}: no round succeeded."),
        }
    }

    fn draw(&self, svg: &mut Svg, frame: &Frame, axis: &Axis, top: f64, unit: Unit) {
        let figures = match self.summary() {
            Some(summary) => {
                format!("{}, n {}", words::figure(summary.median.value, unit), rounds(self.series))
            }
            None => "no round succeeded".to_owned(),
        };
        let name = short(self.name, frame.letters());
        let middle = if frame.stacked() {
            svg.text("h", Anchor::Start, (0.0, top + 13.0), &name);
            svg.text("m", Anchor::End, (frame.width, top + 13.0), &figures);
            top + LINE + 5.0 + HALF
        } else {
            svg.text("h", Anchor::End, (frame.names - 4.0, top + HALF + 7.0), &name);
            svg.text(
                "m",
                Anchor::Start,
                (frame.right() + MARGIN_OF_FIGURES, top + HALF + 7.0),
                &figures,
            );
            top + HALF + 3.0
        };
        let Some(summary) = self.summary() else { return };
        let class = class(self.wall);
        let x = |value: f64| frame.x(axis.fraction(value));
        let (low, high) = (x(summary.median.low), x(summary.median.high));
        svg.rect(&format!("band f-{class}"), (low, middle - HALF), high - low, 2.0 * HALF);
        // Of equal values so many are outliers as the summary says.
        let mut far = summary.outliers.clone();
        let (mut dots, mut rings) = (Vec::new(), Vec::new());
        for value in self.values() {
            match far.iter().position(|outlier| *outlier == value) {
                Some(known) => {
                    far.swap_remove(known);
                    rings.push(x(value));
                }
                None => dots.push(x(value)),
            }
        }
        svg.dots(&format!("dot s-{class}"), &swarm(dots, middle));
        for place in swarm(rings, middle) {
            svg.circle(&format!("ring s-{class}"), place, DOT / 2.0 + 0.8);
        }
        let median = x(summary.median.value);
        svg.line(&format!("median s-{class}"), (median, middle - HALF), (median, middle + HALF));
    }
}

/// Room before the figures at a row's end.
const MARGIN_OF_FIGURES: f64 = 18.0;

/// Places for dots side by side at these x: those that would cover each other move up and down in turn.
fn swarm(mut xs: Vec<f64>, middle: f64) -> Vec<(f64, f64)> {
    xs.sort_by(f64::total_cmp);
    let mut places = Vec::with_capacity(xs.len());
    let mut rest = xs.as_slice();
    while let Some(first) = rest.first() {
        let together = rest.iter().take_while(|x| **x - first < DOT).count().max(1);
        let (group, others) = rest.split_at(together);
        // As far from each other as there is room for.
        #[expect(clippy::cast_precision_loss, reason = "rounds")]
        let step = DOT.min((HALF - DOT / 2.0) / (group.len() as f64 / 2.0));
        for (number, x) in (0_u32..).zip(group) {
            let side = if number % 2 == 0 { 1.0 } else { -1.0 };
            places.push((*x, middle + side * step * f64::from(number.div_ceil(2))));
        }
        rest = others;
    }
    places
}

/// The class of a wall's colour.
pub(crate) fn class(wall: Wall) -> &'static str {
    match wall {
        Wall::Process => "process",
        Wall::Container => "container",
        Wall::Sandbox => "sandbox",
        Wall::Vm => "vm",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swarm_has_a_place_for_every_sample_within_the_row() {
        for count in [1, 2, 7, 100, 1000] {
            let places = swarm(vec![5.0; count], 50.0);
            assert_eq!(places.len(), count);
            assert!(places.iter().all(|(_, y)| (50.0 - HALF..=50.0 + HALF).contains(y)));
        }
        let apart = swarm(vec![100.0, 0.0, 50.0], 50.0);
        assert_eq!(apart, [(0.0, 50.0), (50.0, 50.0), (100.0, 50.0)]);
    }
}
