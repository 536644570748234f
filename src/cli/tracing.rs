//! `--trace FILE`: a trace from its beginning to its end.

use std::error::Error;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::say;
use super::timing::Unit;
use crate::trace::boot::Recorder;
use crate::trace::file::about::{self, About, Conclusion, DoneStep, Half};
use crate::trace::file::write::TraceFile;
use crate::trace::steps::SharedStamps;
use crate::trace::tracer::Tracer;

/// A trace that is being made.
pub(super) struct Tracing {
    path: PathBuf,
    file: Arc<TraceFile>,
}

impl Tracing {
    /// Begins a trace in the file at `path`, which is made or, where it is an earlier trace, begun anew.
    pub(super) fn begin(
        path: &Path,
        half: Half,
        unit: Unit,
        recorder: &Recorder,
        about: About,
    ) -> Result<Tracing, Box<dyn Error>> {
        let file = TraceFile::create(path)?;
        let unit = match unit {
            Unit::Milliseconds => about::Unit::Nanoseconds,
            Unit::Instructions => about::Unit::Instructions,
        };
        let duplex = env!("CARGO_PKG_VERSION").to_owned();
        let start = recorder.start();
        let begun = file.about(&About { duplex, half, unit, start, ..about });
        begun.map_err(|error| format!("--trace {}: {error}", path.display()))?;
        Ok(Tracing { path: path.to_owned(), file: Arc::new(file) })
    }

    /// Has events recorded by this process.
    pub(super) fn record(&self, recorder: &Recorder) -> io::Result<()> {
        recorder.trace_to(Arc::new(Tracer::start(self.file.clone())?));
        Ok(())
    }

    /// When a container's PID 1 was done with which step.
    pub(super) fn steps(&self, recorder: &Recorder, steps: &[String], stamps: &SharedStamps) {
        let done = stamps.times().zip(steps).filter_map(|(time, step)| {
            let at = u64::try_from(recorder.since_start(time?).as_nanos()).unwrap_or(u64::MAX);
            Some(DoneStep { step: step.clone(), at })
        });
        let done: Vec<DoneStep> = done.collect();
        self.check(self.file.steps(&done));
    }

    /// Ends it. `whole`: whoever made the events has ended by itself. What went wrong is said; what the
    /// trace is of has gone its own way.
    pub(super) fn conclude(self, recorder: &Recorder, whole: bool) {
        if let Some(tracer) = recorder.tracer() {
            self.check(tracer.stop());
        }
        self.check(self.file.phases(&about::phases(recorder)));
        self.check(self.file.end(Conclusion { whole }));
    }

    fn check(&self, written: io::Result<()>) {
        if let Err(error) = written {
            say(format_args!("--trace {}: it is not whole: {error}", self.path.display()));
        }
    }
}

/// What was called, for a person: arguments with anything unusual in quotes.
pub(super) fn command_line(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    let words = arguments.into_iter().map(|argument| {
        let text = argument.as_ref().to_string_lossy().into_owned();
        if !text.is_empty() && text.chars().all(plain) { text } else { format!("{text:?}") }
    });
    words.collect::<Vec<_>>().join(" ")
}
