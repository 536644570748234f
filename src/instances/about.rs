//! What an instance is, and how it has ended.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::isolate::cgroups::Usage;
use crate::session::protocol::Ending;
use crate::workload::Process;

/// Which wall it is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Half {
    /// A kernel of its own.
    Vm,
    /// The shared kernel's namespaces.
    Container,
}

/// What an instance is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct About {
    /// What it goes by.
    pub name: String,
    /// Which wall it is behind.
    pub half: Half,
    /// The image, as it was named.
    pub image: PathBuf,
    /// What the image says about commands, for further ones.
    #[serde(default)]
    pub process: Process,
    /// The command and its arguments.
    pub command: Vec<String>,
    /// Whether it runs in the testbed.
    pub testbed: bool,
    /// Whether its output is kept in a log, and the log and its end for as long as nobody removes them.
    pub remains: bool,
    /// When it was started, in seconds since 1970.
    pub started: u64,
}

/// How an instance has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// The exit status, as that of `duplex run`.
    pub status: u8,
    /// What was to be said about it.
    pub reason: Option<String>,
    /// When, in seconds since 1970.
    pub at: u64,
    /// What it has used, where that was counted.
    pub usage: Option<Usage>,
}

impl Ended {
    /// It has ended now.
    pub fn now(status: u8, reason: Option<String>, usage: Option<Usage>) -> Ended {
        Ended { status, reason, at: now(), usage }
    }

    /// The process that ran it was killed, some time before now.
    pub(super) fn killed() -> Ended {
        let reason = "the duplex process that ran it was killed, and it with that";
        Ended::now(Ending::Killed(libc::SIGKILL).exit_status(), Some(reason.into()), None)
    }
}

/// In seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// What an instance does.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    /// It runs.
    Running,
    /// It is there, and all its processes are stopped.
    Paused,
    /// It has ended.
    Ended(Box<Ended>),
}
