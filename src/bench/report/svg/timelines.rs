//! Where starts' time went: for each contender, and for each who went through phases, a bar of them.

use super::axis::{Axis, What};
use super::strips::class;
use super::{Anchor, Caption, Frame, LINE, Svg, for_all_widths};
use crate::bench::report::words::{self, figure, short};
use crate::bench::results::{Phase, Results, Timeline, Unit};

/// Height of a bar.
const BAR: f64 = 22.0;

/// From which width on there is room for a number in a part of a bar.
const ROOM: f64 = 18.0;

/// A phase, its number in its timeline and when it began.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Span<'a> {
    pub(crate) number: usize,
    pub(crate) phase: &'a Phase,
    pub(crate) begin: f64,
}

impl Span<'_> {
    pub(crate) fn took(&self) -> f64 {
        self.phase.end - self.begin
    }
}

/// The phases with their beginnings. Each begins where the one before of the same actor ended; an actor's first
/// where the last of any had ended.
pub(crate) fn spans(timeline: &Timeline) -> Vec<Span<'_>> {
    let mut spans: Vec<Span<'_>> = Vec::new();
    for (number, phase) in timeline.phases.iter().enumerate() {
        let own = spans.iter().rev().find(|span| span.phase.by == phase.by);
        let begin = own.or(spans.last()).map_or(0.0, |before| before.phase.end);
        spans.push(Span { number: number + 1, phase, begin: begin.min(phase.end) });
    }
    spans
}

/// Who went through phases, in the order in which they come.
fn actors(timeline: &Timeline) -> Vec<&str> {
    let mut actors: Vec<&str> = Vec::new();
    for phase in &timeline.phases {
        if !actors.contains(&phase.by.as_str()) {
            actors.push(&phase.by);
        }
    }
    actors
}

/// The timelines that share a unit, on one axis.
pub(crate) fn chart(
    id: &str,
    title: &str,
    results: &Results,
    unit: Unit,
    timelines: &[&Timeline],
) -> String {
    let described = |timeline: &&Timeline| {
        let end = timeline.phases.iter().map(|phase| phase.end).fold(0.0, f64::max);
        format!(
            "{}: {} phases in {}.",
            timeline.contender,
            timeline.phases.len(),
            figure(end, unit)
        )
    };
    let caption = Caption {
        id: id.to_owned(),
        title: title.to_owned(),
        description: timelines.iter().map(described).collect::<Vec<_>>().join(" "),
    };
    // Lengths are compared here: from zero.
    let ends = timelines.iter().flat_map(|timeline| &timeline.phases).map(|phase| phase.end);
    let axis = Axis::from_zero(ends);
    for_all_widths(|frame| {
        let mut svg = Svg::default();
        let bottom = draw(&mut svg, frame, &axis, results, unit, timelines);
        svg.embedded(frame, bottom, &caption)
    })
}

fn draw(
    svg: &mut Svg,
    frame: &Frame,
    axis: &Axis,
    results: &Results,
    unit: Unit,
    timelines: &[&Timeline],
) -> f64 {
    let lane = if frame.stacked() { BAR + LINE + 4.0 } else { BAR + 6.0 };
    let heading = LINE + 6.0;
    let lanes =
        |timeline: &&Timeline| f64::from(u32::try_from(actors(timeline).len()).unwrap_or(0));
    let bottom: f64 =
        timelines.iter().map(|timeline| heading + lane * lanes(timeline)).sum::<f64>() + 4.0;
    let what = What::Values(unit, format!("{} since the start of the process", words::unit(unit)));
    let end = axis.draw(svg, frame, (0.0, bottom), &what);
    let mut y = 0.0;
    for timeline in timelines {
        svg.text("h", Anchor::Start, (0.0, y + 15.0), &short(&timeline.contender, 40));
        y += heading;
        let class = class(words::wall_of(results, &timeline.contender));
        let spans = spans(timeline);
        for actor in actors(timeline) {
            let own: Vec<_> = spans.iter().filter(|span| span.phase.by == actor).collect();
            draw_lane(svg, frame, axis, y, (actor, class), &own);
            y += lane;
        }
    }
    end
}

fn draw_lane(
    svg: &mut Svg,
    frame: &Frame,
    axis: &Axis,
    top: f64,
    (actor, class): (&str, &str),
    spans: &[&Span<'_>],
) {
    let name = short(actor, frame.letters());
    let top = if frame.stacked() {
        svg.text("m", Anchor::Start, (0.0, top + 12.0), &name);
        top + LINE
    } else {
        svg.text("m", Anchor::End, (frame.names - 4.0, top + BAR - 6.0), &name);
        top
    };
    for (place, span) in spans.iter().enumerate() {
        let begin = frame.x(axis.fraction(span.begin));
        let width = frame.x(axis.fraction(span.phase.end)) - begin;
        let shade = if place % 2 == 0 { "odd" } else { "even" };
        svg.rect(&format!("{shade} f-{class} s-{class}"), (begin, top), width, BAR);
        if width >= ROOM {
            let middle = (begin + width / 2.0, top + BAR - 6.5);
            svg.text("on", Anchor::Middle, middle, &span.number.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_goes_on_where_it_was() {
        let phase = |by: &str, end: f64| Phase { name: String::new(), end, by: by.to_owned() };
        let timeline = Timeline {
            contender: "duplex-container".into(),
            unit: Unit::Milliseconds,
            phases: vec![
                phase("duplex", 1.0),
                phase("duplex", 2.0),
                phase("PID 1", 2.5),
                phase("duplex", 3.0),
                phase("PID 1", 4.0),
            ],
        };
        let begins: Vec<_> = spans(&timeline).iter().map(|span| span.begin).collect();
        assert_eq!(begins, [0.0, 1.0, 2.0, 2.0, 2.5]);
        assert_eq!(actors(&timeline), ["duplex", "PID 1"]);
    }
}
