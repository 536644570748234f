//! How a figure grows with the number of instances: a line for each contender, with a mark at each point.

use super::axis::{Axis, What};
use super::strips::class;
use super::{Anchor, Caption, Frame, LINE, Svg, for_all_widths};
use crate::bench::report::words::{self, figure, short};
use crate::bench::results::{Curve, Results, Unit};

/// Height of the field.
const FIELD: f64 = 240.0;

/// Room for the values that are written left of the field.
const LEFT: f64 = 72.0;

/// The curves of a metric.
pub(crate) fn chart(
    id: &str,
    title: &str,
    results: &Results,
    unit: Unit,
    curves: &[&Curve],
) -> String {
    let described = |curve: &&Curve| {
        let point = |(number, value): &(u32, f64)| format!("{number}: {}", figure(*value, unit));
        let ends = [curve.points.first(), curve.points.last()].into_iter().flatten().map(point);
        format!("{}, from {}.", curve.contender, ends.collect::<Vec<_>>().join(" to "))
    };
    let caption = Caption {
        id: id.to_owned(),
        title: title.to_owned(),
        description: curves.iter().map(described).collect::<Vec<_>>().join(" "),
    };
    for_all_widths(|frame| {
        let mut svg = Svg::default();
        let bottom = draw(&mut svg, frame, results, unit, curves);
        svg.embedded(frame, bottom, &caption)
    })
}

fn draw(svg: &mut Svg, frame: &Frame, results: &Results, unit: Unit, curves: &[&Curve]) -> f64 {
    let all = || curves.iter().flat_map(|curve| &curve.points);
    let across = Axis::from_zero(all().map(|(number, _)| f64::from(*number)));
    let up = Axis::of(all().map(|(_, value)| *value));
    let top = legend(svg, frame, results, curves);
    let bottom = top + FIELD;
    let wide = Frame { names: LEFT - 10.0, figures: 0.0, ..*frame };
    let y = |value: f64| bottom - up.fraction(value) * FIELD;
    let values = What::Values(unit, String::new());
    for tick in up.ticks(6) {
        svg.line("grid", (wide.left(), y(tick)), (wide.right(), y(tick)));
        svg.text("m", Anchor::End, (LEFT - 4.0, y(tick) + 4.0), &values.label(tick));
    }
    let log = if up.is_log() { ", value on a logarithmic axis" } else { "" };
    let what = What::Values(Unit::Count, format!("instances at once{log}"));
    let end = across.draw(svg, &wide, (top, bottom), &what);
    for (number, curve) in curves.iter().enumerate() {
        let class = class(words::wall_of(results, &curve.contender));
        let x = |number: u32| wide.x(across.fraction(f64::from(number)));
        let places: Vec<_> = curve.points.iter().map(|(n, value)| (x(*n), y(*value))).collect();
        let step = |(index, (x, y)): (usize, &(f64, f64))| {
            format!("{}{x:.1} {y:.1}", if index == 0 { "M" } else { "L" })
        };
        let path: String = places.iter().enumerate().map(step).collect();
        if places.len() > 1 {
            svg.path(&format!("curve d{} s-{class}", number % 4), &path);
        }
        for place in places {
            mark(svg, number, class, place);
        }
    }
    end
}

/// Which mark is whose; returns where the field begins.
fn legend(svg: &mut Svg, frame: &Frame, results: &Results, curves: &[&Curve]) -> f64 {
    let width = if frame.stacked() { 164.0 } else { 184.0 };
    let (mut x, mut y) = (0.0, 0.0);
    for (number, curve) in curves.iter().enumerate() {
        if x + width > frame.width {
            (x, y) = (0.0, y + LINE + 4.0);
        }
        let class = class(words::wall_of(results, &curve.contender));
        svg.path(
            &format!("curve d{} s-{class}", number % 4),
            &format!("M{x:.1} {:.1}h26", y + 11.0),
        );
        mark(svg, number, class, (x + 13.0, y + 11.0));
        svg.text("", Anchor::Start, (x + 32.0, y + 15.0), &short(&curve.contender, 16));
        x += width;
    }
    y + LINE + 16.0
}

/// A mark at a place; neighbours in number have different shapes.
fn mark(svg: &mut Svg, number: usize, class: &str, (x, y): (f64, f64)) {
    let class = format!("point f-{class}");
    match number % 4 {
        0 => svg.circle(&class, (x, y), 4.5),
        1 => svg.rect(&class, (x - 4.0, y - 4.0), 8.0, 8.0),
        2 => svg.path(&class, &format!("M{x:.1} {:.1}l5 9h-10z", y - 5.5)),
        _ => svg.path(&class, &format!("M{x:.1} {:.1}l5 5l-5 5l-5 -5z", y - 5.0)),
    }
}
