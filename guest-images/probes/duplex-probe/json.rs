//! Lines of output, and objects of JSON.

use std::fmt::{Display, Write as _};
use std::io::{self, Write};

use crate::system::Failure;

/// Prints a line, at once.
pub(crate) fn say(line: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes())?;
    Ok(out.flush()?)
}

/// An object that is being written.
pub(crate) struct Object(String);

impl Object {
    pub(crate) fn new() -> Self {
        Self(String::from("{"))
    }

    fn name(&mut self, name: &str) -> &mut String {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        quote(&mut self.0, name);
        self.0.push(':');
        &mut self.0
    }

    /// What is JSON as it is: a whole number, a truth value, another object.
    pub(crate) fn plain(mut self, name: &str, value: impl Display) -> Self {
        let _ = write!(self.name(name), "{value}");
        self
    }

    /// A number; what is none (a division by no time) is null.
    pub(crate) fn number(self, name: &str, value: f64) -> Self {
        if value.is_finite() { self.plain(name, value) } else { self.plain(name, "null") }
    }

    pub(crate) fn text(mut self, name: &str, value: &str) -> Self {
        quote(self.name(name), value);
        self
    }

    pub(crate) fn texts(mut self, name: &str, values: &[String]) -> Self {
        let text = self.name(name);
        text.push('[');
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            quote(text, value);
        }
        text.push(']');
        self
    }

    pub(crate) fn finish(self) -> String {
        self.0 + "}"
    }
}

fn quote(text: &mut String, value: &str) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            c if c.is_control() => {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}
