//! What is asked of a testbed, and what comes back.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A command to run in the testbed as if it ran here.
#[derive(Clone, Debug)]
pub struct Session {
    /// The program, found along `PATH` if it has no slash, and its arguments.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// The working directory.
    pub cwd: PathBuf,
    /// Files and directories that the command may write to; all others it can write to as well,
    /// but that stays in the testbed's memory. A file that does not exist is created.
    pub writable: Vec<PathBuf>,
    /// Files and directories that the command reads. To be named if they lie in /dev, /proc, /run
    /// or /sys, which the testbed does not see, or if instructions are counted.
    pub inputs: Vec<PathBuf>,
    /// Whether it reads standard input; if not, it finds that at its end.
    pub reads_input: bool,
    /// The machine it runs on, if one has to be started for it.
    pub machine: Machine,
}

impl Session {
    /// A command with the environment and working directory of this process.
    pub fn new(argv: Vec<OsString>) -> std::io::Result<Self> {
        Ok(Self {
            argv,
            env: std::env::vars_os().collect(),
            cwd: std::env::current_dir()?,
            writable: Vec::new(),
            inputs: Vec::new(),
            reads_input: true,
            machine: Machine::default(),
        })
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its exit status; 128 plus the number of the signal that killed it.
    pub status: u8,
    /// What was counted, on a counting machine.
    pub counts: Option<Counts>,
}

/// An emulated machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// What its time is measured in. A counting machine has one CPU, whatever `cpus` says.
    pub clock: Clock,
    /// How many CPUs it has.
    pub cpus: u8,
    /// Its memory in MiB.
    pub memory_mib: u32,
}

impl Default for Machine {
    fn default() -> Self {
        Self { clock: Clock::Wall, cpus: 2, memory_mib: 3072 }
    }
}

impl Machine {
    /// The usual counting machine.
    pub fn counting() -> Self {
        Self { clock: Clock::Instructions, cpus: 1, ..Self::default() }
    }
}

/// What a machine's time is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Clock {
    /// Time passes as it does here.
    Wall,
    /// A nanosecond passes with each instruction executed, so that durations are instruction
    /// counts, the same on every run to about 1 %. Commands run from memory there, and find only
    /// their program, its libraries, and the files they named.
    Instructions,
}

/// What was counted of a command, in instructions since just before it was started: its own, the
/// kernel's, and some million of the observer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Until its first byte on standard output.
    pub first_byte: Option<u64>,
    /// Until its first complete line on standard output.
    pub first_line: Option<u64>,
    /// Until it ended.
    pub end: u64,
}
