//! Axes: which value lies where, and which are written on them.

use super::{Anchor, Frame, Svg};
use crate::bench::report::words::{Scale, digits};
use crate::bench::results::Unit;

/// From how many times the least value the greatest is seen better on a logarithmic axis.
const SPREAD: f64 = 25.0;

/// From how many times the least value to the greatest a logarithmic axis reaches at most.
const WIDEST: f64 = 1e5;

/// One of so many values may lie below a logarithmic axis.
const FEW: usize = 4;

/// A letter of a value's is about as wide.
const DIGIT: f64 = 7.8;

/// Values along a line.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    log: bool,
    /// Whether there are values below `low`.
    cut: bool,
}

impl Axis {
    /// One for these values: from zero, so that lengths can be compared; logarithmic, and said so, where they
    /// lie too far apart. A few that are no more than zero, as differences may be, or next to nothing lie at its
    /// left end then.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.into_iter().collect();
        let (least, most) = ends(values.iter().copied());
        let (least_above, _) = ends(values.iter().copied().filter(|value| *value > 0.0));
        let not_above = values.iter().filter(|value| **value <= 0.0).count();
        if most / least_above > SPREAD && not_above * FEW <= values.len() {
            let low = (least_above / 1.15).max(most / WIDEST);
            return Self { low, high: most * 1.15, log: true, cut: least < low };
        }
        Self::from_zero(values)
    }

    /// One on which lengths can be compared, however far apart the values lie.
    pub(crate) fn from_zero(values: impl IntoIterator<Item = f64>) -> Self {
        let (least, most) = ends(values);
        let most = if most > least.min(0.0) { most } else { least.min(0.0) + 1.0 };
        Self { low: least.min(0.0) * 1.05, high: most.max(0.0) * 1.05, log: false, cut: false }
    }

    /// One for ratios: as far from 1 for half as for twice.
    pub(crate) fn of_ratios(values: impl IntoIterator<Item = f64>) -> Self {
        let positive = values.into_iter().filter(|value| *value > 0.0);
        let (least, most) = ends(positive.chain([0.9, 1.1]));
        Self { low: least / 1.05, high: most * 1.05, log: true, cut: false }
    }

    pub(crate) fn is_log(&self) -> bool {
        self.log
    }

    /// What a value at the left end may be.
    pub(crate) fn or_less(&self) -> &'static str {
        if self.cut { " or less" } else { "" }
    }

    /// The values at its ends.
    pub(crate) fn ends(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// Where a value lies, from 0 to 1.
    pub(crate) fn fraction(&self, value: f64) -> f64 {
        let fraction = if self.log {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        if fraction.is_finite() { fraction.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Round values to write on it, at most so many.
    pub(crate) fn ticks(&self, most: usize) -> Vec<f64> {
        let most = most.max(2);
        if self.log {
            let fine = self.decades(&[1.0, 2.0, 5.0]);
            let coarse = self.decades(&[1.0]);
            if fine.len() >= 3 {
                let ticks = if fine.len() <= most { fine } else { coarse };
                let step = ticks.len().div_ceil(most).max(1);
                return ticks.into_iter().step_by(step).collect();
            }
        }
        self.even(most)
    }

    /// The multiples of powers of ten that lie on it.
    fn decades(&self, multiples: &[f64]) -> Vec<f64> {
        let mut ticks = Vec::new();
        let mut decade = 10_f64.powf(self.low.log10().floor());
        // Below the least number with all its digits there is no power of ten to go on from.
        while decade.is_normal() && decade <= self.high && ticks.len() < 100 {
            let here = multiples.iter().map(|multiple| multiple * decade);
            ticks.extend(here.filter(|tick| (self.low..=self.high).contains(tick)));
            decade *= 10.0;
        }
        ticks
    }

    /// Values at equal distances.
    fn even(&self, most: usize) -> Vec<f64> {
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let rough = (self.high - self.low) / most as f64;
        let decade = 10_f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0];
        let step = steps.iter().map(|step| step * decade).find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        let mut ticks = Vec::new();
        let mut at = (self.low / step).ceil();
        while at * step <= self.high && ticks.len() <= most {
            ticks.push(at * step);
            at += 1.0;
        }
        ticks
    }

    /// Draws its lines from `top` to `bottom`, with the values below; returns where the next thing can be.
    pub(crate) fn draw(
        &self,
        svg: &mut Svg,
        frame: &Frame,
        (top, bottom): (f64, f64),
        what: &What,
    ) -> f64 {
        let ticks = self.ticks(if frame.stacked() { 4 } else { 8 });
        let mut free = f64::NEG_INFINITY;
        let mut write = |x: f64, label: &str| {
            svg.line("grid", (x, top), (x, bottom));
            let width = DIGIT * f64::from(u32::try_from(label.chars().count()).unwrap_or(u32::MAX));
            // In the middle below its line, but within the picture, and not over the one before.
            let begin = (x - width / 2.0).min(frame.width - width).max(0.0);
            if begin > free {
                svg.text("m", Anchor::Start, (begin, bottom + 14.0), label);
                free = begin + width;
            }
        };
        if self.cut {
            write(frame.left(), &format!("≤ {}", what.label(self.low)));
        }
        for tick in ticks {
            write(frame.x(self.fraction(tick)), &what.label(tick));
        }
        let log = if self.log { ", logarithmic axis" } else { "" };
        let title = format!("{}{log}", what.title());
        svg.text("m", Anchor::End, (frame.right(), bottom + 30.0), &title);
        bottom + 38.0
    }
}

/// What an axis shows.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// Values of a unit, and what they are.
    Values(Unit, String),
    /// Times another's.
    Ratios(String),
}

impl What {
    /// A round value as it is written on the axis.
    pub(crate) fn label(&self, value: f64) -> String {
        match self {
            Self::Values(unit, _) => Scale::of(value, *unit).tick(value),
            Self::Ratios(_) => format!("{}×", trimmed(value)),
        }
    }

    fn title(&self) -> &str {
        match self {
            Self::Values(_, title) | Self::Ratios(title) => title,
        }
    }
}

impl Scale {
    /// A round value, without digits that say nothing.
    fn tick(&self, value: f64) -> String {
        let figure = self.figure(value);
        let number = self.number(value);
        figure.replacen(&number, &trim(&number), 1)
    }
}

fn trimmed(value: f64) -> String {
    trim(&digits(value))
}

fn trim(number: &str) -> String {
    if number.contains('.') && !number.contains('e') {
        number.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        number.to_owned()
    }
}

/// The least and the greatest; 0 and 1 where there is nothing.
fn ends(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let finite = values.into_iter().filter(|value| value.is_finite());
    let ends = finite.fold(None, |ends: Option<(f64, f64)>, value| {
        let (least, most) = ends.unwrap_or((value, value));
        Some((least.min(value), most.max(value)))
    });
    ends.unwrap_or((0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_begins_at_zero_unless_it_is_logarithmic() {
        let linear = Axis::of([3.0, 9.0]);
        assert!(!linear.is_log());
        assert_eq!(linear.fraction(0.0), 0.0);
        assert_eq!(linear.ticks(8), [0.0, 2.0, 4.0, 6.0, 8.0]);
        let log = Axis::of([0.6, 96.0]);
        assert!(log.is_log());
        assert_eq!(log.ticks(8), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
        assert!((log.fraction((0.6_f64 * 96.0).sqrt()) - 0.5).abs() < 1e-9);
        // A difference may be negative, and a value zero.
        let negative = Axis::of([-1.0, 2.0]);
        assert!(!negative.is_log() && negative.fraction(0.0) > 0.3);
        assert!(!Axis::of([0.0, 1e9]).is_log());
    }

    #[test]
    fn a_few_values_that_are_not_above_zero_lie_at_the_left_end() {
        let axis = Axis::of([-0.2, 1.0, 2.0, 300.0]);
        assert!(!Axis::from_zero([0.0, 1.0, 2.0, 300.0]).is_log());
        assert!(axis.is_log() && axis.fraction(-0.2) == 0.0 && axis.fraction(1.0) > 0.0);
        assert_eq!((axis.or_less(), Axis::of([1.0, 300.0]).or_less()), (" or less", ""));
    }

    #[test]
    fn an_axis_of_nothing_or_of_one_value_can_be_drawn() {
        for axis in [
            Axis::of([]),
            Axis::of([0.0]),
            Axis::of([5.0]),
            Axis::of([-5.0]),
            Axis::of([f64::NAN, f64::INFINITY]),
            Axis::of([f64::MIN_POSITIVE, f64::MAX]),
            Axis::of([5e-324, 2e-322]),
            Axis::of_ratios([]),
            Axis::of_ratios([5e-324]),
            Axis::of_ratios([0.0, -3.0, 1.0]),
        ] {
            assert!((0.0..=1.0).contains(&axis.fraction(1.0)), "{axis:?}");
            assert!(axis.ticks(8).len() <= 9, "{axis:?} {:?}", axis.ticks(8));
        }
    }

    #[test]
    fn ratios_are_symmetrical_about_one() {
        let axis = Axis::of_ratios([0.5, 2.0]);
        assert!((axis.fraction(1.0) - 0.5).abs() < 1e-9);
        assert_eq!(axis.ticks(8), [0.5, 1.0, 2.0]);
        // Close to 1 there is no power of ten: equal distances then.
        let close = Axis::of_ratios([0.98, 1.04]);
        assert!(close.ticks(8).len() >= 3, "{:?}", close.ticks(8));
    }

    #[test]
    fn ticks_say_no_more_than_they_know() {
        let what = What::Values(Unit::Milliseconds, String::new());
        assert_eq!(what.label(10.0), "10 ms");
        assert_eq!(what.label(0.5), "0.5 ms");
        assert_eq!(what.label(2500.0), "2.5 s");
        assert_eq!(What::Ratios(String::new()).label(1.5), "1.5×");
    }
}
