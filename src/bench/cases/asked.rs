//! The probe, asked something behind a contender's wall, and what it answers.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::bench::contender::{Contender, Job};
use crate::bench::ground::Ground;
use crate::bench::observer::{Bounds, observe};
use crate::bench::results::{Place, Unit};
use crate::bench::rounds::{Found, Measured, Turn, measure};
use crate::bench::schedule::Schedule;
use crate::bench::stop::Stop;
use crate::bench::workshop::PROBE;

/// How long a job may take: natively, and on an emulated machine.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_EMULATED: Duration = Duration::from_secs(300);

/// Memory of each instance, where a case does not ask for another: what a VM of duplex has by default.
pub(in crate::bench) const MEMORY: u64 = 256 << 20;

/// How jobs of a case are watched.
#[derive(Clone)]
pub(in crate::bench) struct Asker<'a> {
    pub(in crate::bench) bounds: Bounds,
    pub(in crate::bench) stop: &'a Stop,
}

impl<'a> Asker<'a> {
    pub(in crate::bench) fn on(place: Place, stop: &'a Stop) -> Self {
        let time = if place == Place::Host { PATIENCE } else { PATIENCE_EMULATED };
        Self { bounds: Bounds { time, ..Bounds::default() }, stop }
    }

    /// With more time for each job.
    pub(in crate::bench) fn with_more(mut self, time: Duration) -> Self {
        self.bounds.time += time;
        self
    }

    /// Runs the job to its end; returns its last line.
    pub(in crate::bench) fn ask(
        &self,
        contender: &dyn Contender,
        job: &Job,
        number: u64,
    ) -> Result<Answer, String> {
        let mut command = contender.command(job, number)?;
        command.stdin(Stdio::null());
        let seen = observe(&mut command, &self.bounds, self.stop).map_err(|e| e.to_string())?;
        Answer::last_of(&seen.output)
    }
}

impl Ground<'_> {
    /// Who asks here.
    pub(in crate::bench) fn asker(&self) -> Asker<'_> {
        Asker::on(self.place, self.stop)
    }

    /// Gives each contender its turns.
    pub(in crate::bench) fn rounds(
        &mut self,
        schedule: Schedule,
        baseline: Option<&str>,
        take: impl FnMut(&dyn Contender, Turn) -> Result<Vec<Measured>, String>,
    ) -> Found {
        self.rounds_of(self.contenders, schedule, baseline, take)
    }

    /// Gives others than those that take part here their turns.
    pub(in crate::bench) fn rounds_of(
        &mut self,
        others: &[&dyn Contender],
        schedule: Schedule,
        baseline: Option<&str>,
        take: impl FnMut(&dyn Contender, Turn) -> Result<Vec<Measured>, String>,
    ) -> Found {
        let rounds = (schedule, self.budget);
        measure(others, rounds, baseline, (&mut *self.watch, self.stop), take)
    }

    /// Whom ratios are to.
    pub(in crate::bench) fn baseline(&self) -> Option<String> {
        let ids = self.contenders.iter().map(|one| one.described().id.clone());
        ids.into_iter().find(|id| id == "process")
    }
}

/// The probe with these arguments, without a limit but that of memory.
pub(in crate::bench) fn job<S: ToString>(arguments: &[S]) -> Job {
    let arguments = arguments.iter().map(ToString::to_string);
    let argv = std::iter::once(PROBE.to_owned()).chain(arguments).collect();
    Job { argv, memory: Some(MEMORY), ..Job::default() }
}

/// A line of JSON that the probe has printed.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::bench) struct Answer(pub(in crate::bench) Value);

impl Answer {
    /// The last line that is an object: a console may have said something before.
    pub(in crate::bench) fn last_of(output: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(output);
        let last = text.lines().rev().find_map(Self::read);
        last.ok_or_else(|| format!("the probe answered nothing that makes sense: {}", tail(&text)))
    }

    /// A line that ends with an object: firmware on the same console may not have ended its own last line.
    pub(in crate::bench) fn read(line: &str) -> Option<Self> {
        let object = line.get(line.find('{')?..)?;
        serde_json::from_str(object.trim()).ok().filter(Value::is_object).map(Self)
    }

    /// A number of it.
    pub(in crate::bench) fn number(&self, name: &str) -> Result<f64, String> {
        let number = self.0.get(name).and_then(Value::as_f64);
        number.ok_or_else(|| format!("the probe did not say '{name}': {}", self.0))
    }

    /// A text of it; empty where it is not there.
    pub(in crate::bench) fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A list of texts.
    pub(in crate::bench) fn texts(&self, name: &str) -> Vec<&str> {
        let list = self.0.get(name).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// A figure of each of these names.
    pub(in crate::bench) fn figures(
        &self,
        names: &[(&str, Unit)],
    ) -> Result<Vec<Measured>, String> {
        let one = |(name, unit): &(&str, Unit)| Ok(Measured::new(*name, *unit, self.number(name)?));
        names.iter().map(one).collect()
    }
}

fn tail(text: &str) -> &str {
    text.lines().last().unwrap_or("it wrote nothing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_object_is_the_answer() {
        let output = b"booting\r\n{\"a\":1}\r\nBooting from ROM..{\"a\":2.5,\"b\":\"x\",\"c\":[\"y\"]}\r\nreboot: Power down\n";
        let answer = Answer::last_of(output).unwrap();
        assert_eq!(answer.number("a"), Ok(2.5));
        assert_eq!((answer.text("b"), answer.text("z")), ("x", ""));
        assert_eq!(answer.texts("c"), ["y"]);
        assert!(answer.number("b").unwrap_err().contains("did not say 'b'"));
    }

    #[test]
    fn no_answer_is_a_failure() {
        for output in ["", "ready\n", "3\n", "{\"a\":", "{\"a\":1} and more"] {
            let error = Answer::last_of(output.as_bytes()).unwrap_err();
            assert!(error.contains("nothing that makes sense"), "{output}: {error}");
        }
    }
}
