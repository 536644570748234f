//! Contenders of which it is known what they do.

use std::process::{Command, Stdio};

use duplex::bench::contender::{Contender, Job};
use duplex::bench::results::{Contender as Described, Series, Wall};
use duplex::bench::statistics;

/// A shell's script, or nothing that can be started.
pub(crate) struct Known {
    described: Described,
    script: String,
}

impl Known {
    pub(crate) fn new(id: &str, script: impl Into<String>) -> Self {
        let (id, name, wall) = (id.to_owned(), id.to_owned(), Wall::Process);
        let described = Described { id, name, wall, version: None, missing: None };
        Self { described, script: script.into() }
    }
}

impl Contender for Known {
    fn described(&self) -> &Described {
        &self.described
    }

    fn command(&self, _job: &Job, _number: u64) -> Result<Command, String> {
        let mut command = Command::new("sh");
        command.args(["-c", &self.script]).stdin(Stdio::null());
        Ok(command)
    }
}

/// The differences of two series, round by round: their median, and the interval that it lies in.
pub(crate) fn difference(one: &Series, other: &Series) -> (f64, f64, f64) {
    let pairs = one.samples.iter().zip(&other.samples);
    let mut differences: Vec<f64> =
        pairs.map(|(one, other)| one.unwrap() - other.unwrap()).collect();
    differences.sort_by(f64::total_cmp);
    let [found] = statistics::intervals(&differences, [0.5], 1);
    (found.low, found.value, found.high)
}
