//! Pictures, as SVG text: shapes with a class each, which the page's style gives colours, in light and dark.

use std::fmt::Write;

use super::words::plain;

pub(crate) mod axis;
pub(crate) mod curves;
pub(crate) mod ratios;
pub(crate) mod start;
pub(crate) mod strips;
pub(crate) mod timelines;

/// Colours of the shapes, by class; as variables, so that dark mode can have others.
pub(crate) const STYLE: &str = include_str!("svg.css");

/// How much room there is. Text has the same size in all: a narrow picture has fewer things side by side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// What distinguishes its elements' ids.
    pub(crate) name: &'static str,
    pub(crate) width: f64,
    /// Room for names beside the rows; none: they stand above.
    pub(crate) names: f64,
    /// Room for figures at the rows' ends; none: above, too.
    pub(crate) figures: f64,
}

/// For a desk.
pub(crate) const WIDE: Frame = Frame { name: "wide", width: 1060.0, names: 160.0, figures: 190.0 };

/// For a hand: 360 pixels, less the margins.
pub(crate) const NARROW: Frame = Frame { name: "narrow", width: 328.0, names: 0.0, figures: 0.0 };

/// Room at both ends of an axis, so that what lies on its end is not cut.
const MARGIN: f64 = 10.0;

/// Height of a line of text.
pub(crate) const LINE: f64 = 16.0;

impl Frame {
    pub(crate) fn stacked(&self) -> bool {
        self.names == 0.0
    }

    /// Where a fraction of an axis lies.
    pub(crate) fn x(&self, fraction: f64) -> f64 {
        self.left() + fraction.clamp(0.0, 1.0) * (self.right() - self.left())
    }

    pub(crate) fn left(&self) -> f64 {
        self.names + MARGIN
    }

    pub(crate) fn right(&self) -> f64 {
        self.width - self.figures - MARGIN
    }

    /// Letters of a name that fit.
    pub(crate) fn letters(&self) -> usize {
        16
    }
}

/// Where a text stands relative to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// What a picture shows, for those who don't see it.
#[derive(Clone, Debug)]
pub(crate) struct Caption {
    /// Unique in the page.
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) description: String,
}

/// A picture that is being drawn.
#[derive(Debug, Default)]
pub(crate) struct Svg {
    shapes: String,
}

impl Svg {
    pub(crate) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.shape(format_args!(
            r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
        ));
    }

    pub(crate) fn rect(&mut self, class: &str, at: (f64, f64), width: f64, height: f64) {
        let ((x, y), width) = (at, width.max(1.0));
        self.shape(format_args!(
            r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"/>"#
        ));
    }

    pub(crate) fn circle(&mut self, class: &str, (x, y): (f64, f64), radius: f64) {
        self.shape(format_args!(
            r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="{radius:.1}"/>"#
        ));
    }

    /// One dot at each place, as lines of no length with round ends: a third of the text of circles.
    pub(crate) fn dots(&mut self, class: &str, places: &[(f64, f64)]) {
        let path: String = places.iter().map(|(x, y)| format!("M{x:.1} {y:.1}h0")).collect();
        if !path.is_empty() {
            self.path(class, &path);
        }
    }

    pub(crate) fn path(&mut self, class: &str, path: &str) {
        self.shape(format_args!(r#"<path class="{class}" d="{path}"/>"#));
    }

    pub(crate) fn text(&mut self, class: &str, anchor: Anchor, (x, y): (f64, f64), text: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => r#" text-anchor="middle""#,
            Anchor::End => r#" text-anchor="end""#,
        };
        let text = escape(text);
        self.shape(format_args!(
            r#"<text class="{class}" x="{x:.1}" y="{y:.1}"{anchor}>{text}</text>"#
        ));
    }

    /// What follows is drawn further right, until [`unshift`](Self::unshift).
    pub(crate) fn shift(&mut self, by: f64) {
        self.shape(format_args!(r#"<g transform="translate({by:.0} 0)">"#));
    }

    pub(crate) fn unshift(&mut self) {
        self.shape(format_args!("</g>"));
    }

    fn shape(&mut self, shape: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.shapes, "{shape}");
    }

    /// The picture as a part of a page.
    pub(crate) fn embedded(self, frame: &Frame, height: f64, caption: &Caption) -> String {
        let Caption { id, title, description } = caption;
        let (name, width) = (frame.name, frame.width);
        format!(
            "<svg class=\"{name}\" role=\"img\" aria-labelledby=\"{id}-{name}-t {id}-{name}-d\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\">\n\
             <title id=\"{id}-{name}-t\">{}</title>\n<desc id=\"{id}-{name}-d\">{}</desc>\n{}</svg>\n",
            escape(title),
            escape(description),
            self.shapes
        )
    }

    /// The picture as a file, with its own background: it may be looked at on any.
    pub(crate) fn file(self, width: f64, height: f64, caption: &Caption) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" aria-labelledby=\"t d\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\">\n\
             <title id=\"t\">{}</title>\n<desc id=\"d\">{}</desc>\n<style>{STYLE}</style>\n\
             <rect class=\"paper\" x=\"0.5\" y=\"0.5\" width=\"{:.1}\" height=\"{:.1}\" rx=\"8\"/>\n{}</svg>\n",
            escape(&caption.title),
            escape(&caption.description),
            width - 1.0,
            height - 1.0,
            self.shapes
        )
    }
}

/// Draws a picture for each width; the page shows the one that fits.
pub(crate) fn for_all_widths(draw: impl Fn(&Frame) -> String) -> String {
    draw(&WIDE) + &draw(&NARROW)
}

/// Text as HTML and XML have it, in elements and in attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in plain(text).chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(escape("</script>\0&'\""), "&lt;/script&gt;\u{fffd}&amp;&#39;&quot;");
        let mut svg = Svg::default();
        svg.text("t", Anchor::End, (1.0, 2.0), "<b>");
        assert_eq!(
            svg.shapes,
            "<text class=\"t\" x=\"1.0\" y=\"2.0\" text-anchor=\"end\">&lt;b&gt;</text>\n"
        );
    }

    #[test]
    fn what_lies_beyond_an_axis_is_drawn_at_its_end() {
        assert_eq!(WIDE.x(7.0), WIDE.right());
        assert_eq!(NARROW.x(-1.0), NARROW.left());
    }
}
