//! What a trace is of, and what else is said once.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::trace::boot::{Phase, Recorder};

/// What a trace is of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The version of duplex that made it.
    pub duplex: String,
    /// The half: vm or container.
    pub half: Half,
    /// What was run, for a person.
    pub command: String,
    /// The guest's kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Its command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<String>,
    /// When the process was started, on the monotonic clock in nanoseconds: the zero of all phases.
    pub start: u64,
    /// What the clock counts.
    pub unit: Unit,
}

/// Which wall there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Half {
    /// Hardware virtualization.
    #[default]
    Vm,
    /// Namespaces.
    Container,
}

/// What a clock counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Time.
    #[default]
    Nanoseconds,
    /// Instructions, on the testbed's machine that counts them.
    Instructions,
}

/// Where events come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// Its number, which events are marked with.
    pub number: u32,
    /// What it is.
    pub source: Source,
}

/// A source of events.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A vCPU.
    Vcpu(u16),
    /// A queue of a virtio device.
    Queue {
        /// The device's slot.
        slot: u16,
        /// What it is.
        device: String,
        /// Which of its queues.
        queue: u16,
    },
    /// An interrupt line.
    Line {
        /// Whose.
        device: String,
        /// Where it leads.
        gsi: u32,
    },
    /// The processes of a container.
    Processes,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Vcpu(number) => write!(f, "vCPU {number}"),
            Source::Queue { slot, device, queue } => write!(f, "{device} {slot}, queue {queue}"),
            Source::Line { device, gsi } => write!(f, "{device}, GSI {gsi}"),
            Source::Processes => f.write_str("processes"),
        }
    }
}

/// When a phase was reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReachedPhase {
    /// Its name.
    pub phase: String,
    /// The same for a person.
    pub text: String,
    /// Nanoseconds since the process started.
    pub at: u64,
}

/// When a container's PID 1 was done with a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoneStep {
    /// What it did.
    pub step: String,
    /// Nanoseconds since the process started.
    pub at: u64,
}

/// What KVM itself has counted for a vCPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Which vCPU.
    pub vcpu: u16,
    /// By KVM's own names.
    pub counted: Vec<(String, u64)>,
}

/// How a trace ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conclusion {
    /// The process that made the events ended by itself: all that were not dropped are there.
    pub whole: bool,
}

/// The phases that were reached, in the order of time.
pub fn phases(recorder: &Recorder) -> Vec<ReachedPhase> {
    let reached = Phase::ALL.into_iter().filter_map(|phase| {
        let at = u64::try_from(recorder.at(phase)?.as_nanos()).unwrap_or(u64::MAX);
        let (phase, text) = (phase.name().to_owned(), phase.describe().to_owned());
        Some(ReachedPhase { phase, text, at })
    });
    let mut reached: Vec<ReachedPhase> = reached.collect();
    reached.sort_by_key(|phase| phase.at);
    reached
}
