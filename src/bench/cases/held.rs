//! An instance that lives until it is told to end: the probe says each thing that it has done, and waits.

use std::io::Write;
use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;

use super::asked::{Answer, Asker};
use crate::bench::contender::{Contender, Job};
use crate::bench::observer::Running;

/// How often the probe waits.
const STATES: u32 = 3;

/// One that runs. It is killed when this is dropped.
pub(in crate::bench) struct Held {
    running: Running,
    input: Option<ChildStdin>,
    /// How much of its output has been read.
    read: usize,
}

impl Held {
    /// Starts a job that reads lines.
    pub(in crate::bench) fn start(
        asker: &Asker<'_>,
        contender: &dyn Contender,
        job: Job,
        number: u64,
    ) -> Result<Self, String> {
        Self::of(asker, &mut contender.command(&Job { input: true, ..job }, number)?)
    }

    /// Starts a command that does so.
    pub(in crate::bench) fn of(asker: &Asker<'_>, command: &mut Command) -> Result<Self, String> {
        command.stdin(Stdio::piped());
        let mut running =
            Running::start(command, &asker.bounds).map_err(|error| error.to_string())?;
        let input = running.take_input();
        Ok(Self { running, input, read: 0 })
    }

    /// Waits for its first byte; returns how long after the start that came.
    pub(in crate::bench) fn first_byte(&mut self, asker: &Asker<'_>) -> Result<Duration, String> {
        self.running.until_first_byte(asker.stop).map_err(|error| error.to_string())
    }

    /// Waits for the next line that is an answer.
    pub(in crate::bench) fn answer(&mut self, asker: &Asker<'_>) -> Result<Answer, String> {
        loop {
            let line = self.line(asker)?;
            if let Some(answer) = Answer::read(&line) {
                return Ok(answer);
            }
        }
    }

    /// Waits for the next line.
    pub(in crate::bench) fn line(&mut self, asker: &Asker<'_>) -> Result<String, String> {
        loop {
            let output = self.running.output();
            let new = output.get(self.read..).unwrap_or_default();
            if let Some(end) = new.iter().position(|byte| *byte == b'\n') {
                self.read += end + 1;
                return Ok(String::from_utf8_lossy(&new[..end]).into_owned());
            }
            let more = output.len() + 1;
            if more > asker.bounds.output {
                return Err("it wrote more than can be kept".into());
            }
            self.running.until_output(more, asker.stop).map_err(|error| error.to_string())?;
        }
    }

    /// Whether it runs no more.
    pub(in crate::bench) fn has_ended(&self) -> bool {
        self.running.has_ended()
    }

    /// Tells it to go on.
    pub(in crate::bench) fn go_on(&mut self) -> Result<(), String> {
        let input = self.input.as_mut().ok_or("it has no input")?;
        input.write_all(b"\n").map_err(|error| format!("it does not listen any more: {error}"))
    }

    /// Tells it to go on until it ends. A guest behind a serial port does not see the end of its input.
    pub(in crate::bench) fn tell_to_end(&mut self) {
        for _ in 0..STATES {
            // One that does not listen any more ends, too.
            let _ = self.go_on();
        }
        self.input = None;
    }

    /// Waits for its end, which must be a good one.
    pub(in crate::bench) fn end(mut self, asker: &Asker<'_>) -> Result<(), String> {
        self.tell_to_end();
        self.running.until_exit(asker.stop).map(drop).map_err(|error| error.to_string())
    }
}
