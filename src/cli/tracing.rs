//! `--trace FILE`: a trace from its beginning to its end.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::say;
use super::timing::Unit;
use crate::isolate::calls::Follower;
use crate::trace::boot::Recorder;
use crate::trace::file::about::{self, About, Conclusion, DoneStep, Half, Source};
use crate::trace::file::write::{self, TraceFile};
use crate::trace::steps::SharedStamps;
use crate::trace::tracer::Tracer;

/// What is to be written down.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Trace")]
pub(super) struct TraceArgs {
    /// Write down all that happens for `duplex trace`: of a VM every exit, request and interrupt, of a
    /// container the steps to it; into FILE, which is made, or begun anew if it is an earlier trace
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// With --trace of a VM: ask N times a second (1 to 1000) which function of the guest runs. Each time
    /// costs an exit of each vCPU
    #[arg(long, value_name = "N", requires = "trace", value_parser = clap::value_parser!(u32).range(1..=1000))]
    trace_samples: Option<u32>,
}

/// The same, decided.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TraceOrder {
    /// The file, whatever directory this is carried out in.
    pub(super) path: PathBuf,
    /// How often a second vCPUs are asked where they are.
    pub(super) samples: Option<u32>,
    /// Whether a container's system calls are written down.
    pub(super) calls: bool,
}

impl TraceArgs {
    /// What was asked for. `None`: nothing.
    ///
    /// # Errors
    /// There is no working directory.
    pub(super) fn order(&self) -> io::Result<Option<TraceOrder>> {
        let order = |path: &PathBuf| {
            let (samples, calls) = (self.trace_samples, false);
            Ok(TraceOrder { path: std::path::absolute(path)?, samples, calls })
        };
        self.trace.as_ref().map(order).transpose()
    }
}

impl TraceArgs {
    /// Whether samples of a guest were asked for.
    pub(super) fn wants_samples(&self) -> bool {
        self.trace_samples.is_some()
    }
}

impl TraceOrder {
    /// The same as arguments.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec!["--trace".into(), self.path.clone().into()];
        if let Some(samples) = self.samples {
            arguments.extend(["--trace-samples".into(), samples.to_string().into()]);
        }
        arguments
    }

    /// Holds the file open for a process elsewhere, where locks do not reach.
    pub(super) fn hold(&self) -> Result<TraceFile, write::Error> {
        TraceFile::create(&self.path)
    }
}

/// A trace that is being made.
pub(super) struct Tracing {
    order: TraceOrder,
    file: Arc<TraceFile>,
}

impl Tracing {
    /// Begins a trace in its file, which is made or, where it is an earlier trace, begun anew.
    pub(super) fn begin(
        order: &TraceOrder,
        half: Half,
        unit: Unit,
        recorder: &Recorder,
        about: About,
    ) -> Result<Tracing, Box<dyn Error>> {
        let file = TraceFile::create(&order.path)?;
        let unit = match unit {
            Unit::Milliseconds => about::Unit::Nanoseconds,
            Unit::Instructions => about::Unit::Instructions,
        };
        let duplex = env!("CARGO_PKG_VERSION").to_owned();
        let start = recorder.start();
        let begun = file.about(&About { duplex, half, unit, start, ..about });
        begun.map_err(|error| format!("--trace {}: {error}", order.path.display()))?;
        Ok(Tracing { order: order.clone(), file: Arc::new(file) })
    }

    /// Has events recorded by this process.
    pub(super) fn record(&self, recorder: &Recorder) -> io::Result<()> {
        let tracer = Tracer::start(self.file.clone(), self.order.samples)?;
        recorder.trace_to(Arc::new(tracer));
        Ok(())
    }

    /// Has the system calls recorded of all that `first`, a container's PID 1, starts.
    pub(super) fn follow(
        &self,
        recorder: &Recorder,
        first: Pid,
    ) -> Result<Option<Follower>, String> {
        if !self.order.calls {
            return Ok(None);
        }
        let failed = |error: io::Error| {
            format!(
                "--trace-syscalls: the container cannot be traced: {error}; see ptrace(2), or try as root"
            )
        };
        self.record(recorder).map_err(failed)?;
        let lane = recorder.tracer().and_then(|tracer| tracer.lane(Source::Processes).writer());
        lane.map(|lane| Follower::start(first, lane)).transpose().map_err(failed)
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
        let stopped = recorder.tracer().is_none_or(|tracer| self.check(tracer.stop()));
        let phases = self.check(self.file.phases(&about::phases(recorder)));
        self.check(self.file.end(Conclusion { whole: whole && stopped && phases }));
    }

    /// Whether it was written.
    fn check(&self, written: io::Result<()>) -> bool {
        if let Err(error) = &written {
            say(format_args!("--trace {}: it is not whole: {error}", self.order.path.display()));
        }
        written.is_ok()
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
