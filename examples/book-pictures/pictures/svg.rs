//! An SVG as text: what the pictures need of it. It has a background of its own, so that it can be read
//! on a light page and on a dark one, and says in words what it shows.

use std::fmt::{Display, Write};

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1b1f24}.small{font-size:11.5px;fill:#4b535d;\
    paint-order:stroke;stroke:#fff;stroke-width:3px}\
    .head{font-weight:600;font-size:15px}.mono{font-family:ui-monospace,monospace;font-size:12px}\
    .end{text-anchor:end}.middle{text-anchor:middle}.axis{stroke:#c4cad1;stroke-width:1}\
    .host{fill:#3b6fb6}.guest{fill:#d9822b}\
    .host.way{stroke:#3b6fb6;stroke-width:1.5}.guest.way{stroke:#d9822b;stroke-width:1.5}.free{fill:#d8efdc;stroke:#8fbf98}\
    .hole{fill:#e9ebee;stroke:#b8bec6}.written{fill:#cfe0f7;stroke:#7fa3d4}\
    .loaded{fill:#fbe0c3;stroke:#dda45f}.device{fill:#e6dbf5;stroke:#a98bd0}";

/// Where a text stands to its place.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    End,
}

/// A picture that is being drawn.
pub(super) struct Svg {
    width: f64,
    height: f64,
    body: String,
}

impl Svg {
    /// An empty one; `title` says what it shows, `description` what is to be seen.
    pub(super) fn new(width: f64, height: f64, title: &str, description: &str) -> Svg {
        let mut svg = Svg { width, height, body: String::new() };
        svg.line_of(format_args!("<title>{}</title>", escaped(title)));
        svg.line_of(format_args!("<desc>{}</desc>", escaped(description)));
        svg.line_of(format_args!("<style>{STYLE}</style>"));
        svg.line_of(format_args!(
            "<rect x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\" fill=\"#fff\" stroke=\"#d0d7de\"/>",
            width - 1.0,
            height - 1.0
        ));
        svg.text(20.0, 30.0, "head", Anchor::Start, title);
        svg
    }

    fn line_of(&mut self, line: impl Display) {
        writeln!(self.body, "{line}").unwrap();
    }

    pub(super) fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, class: &str) {
        self.line_of(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" class=\"{class}\"/>"
        ));
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.line_of(format_args!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>"
        ));
    }

    /// A level one, with its head at `to`.
    pub(super) fn arrow(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let back = if to.0 > from.0 { -7.0 } else { 7.0 };
        self.line_of(format_args!(
            "<path d=\"M{:.1} {:.1}H{:.1}\" class=\"{class} way\"/>",
            from.0,
            from.1,
            to.0 + back
        ));
        self.line_of(format_args!(
            "<path d=\"M{:.1} {:.1}l{back:.1} -4v8z\" class=\"{class}\"/>",
            to.0, to.1
        ));
    }

    pub(super) fn text(&mut self, x: f64, y: f64, class: &str, anchor: Anchor, text: &str) {
        let class = match anchor {
            Anchor::Start => class.to_owned(),
            Anchor::End => format!("{class} end"),
        };
        self.line_of(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{}\">{}</text>",
            class.trim(),
            escaped(text)
        ));
    }

    pub(super) fn finish(self) -> String {
        let Svg { width, height, body } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\">\n{body}</svg>\n"
        )
    }
}

/// The places of a scale's lines, from zero on.
pub(super) fn ticks(step: f64, end: f64) -> impl Iterator<Item = f64> {
    (0_u32..).map(move |number| f64::from(number) * step).take_while(move |tick| *tick <= end)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A number with a comma before each three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
