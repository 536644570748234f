//! What can go wrong with the testbed.

use std::io;
use std::path::PathBuf;

use crate::failure::Failure;
use crate::guest_images;
use crate::state;

/// Why the testbed, or a command in it, could not be had. Each names the remedy where there is one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// QEMU is not installed.
    #[error(
        "the testbed needs QEMU and there is no qemu-system-x86_64 in PATH: apt-get install qemu-system-x86"
    )]
    NoQemu,
    /// The testbed's kernel could not be had.
    #[error("the testbed needs one of Debian's kernels: {0}")]
    Kernel(#[from] guest_images::Error),
    /// The directory that holds the testbeds can't be used.
    #[error(transparent)]
    State(#[from] state::Error),
    /// A step on the host failed.
    #[error("the testbed: {0}")]
    Host(#[from] Failure),
    /// The machine did not come up.
    #[error("the testbed did not start: {reason}")]
    Start {
        /// What the keeper said, and the last lines of the machine's console.
        reason: String,
    },
    /// The machine hung while it booted: a fault of the emulator, so another one may well come up.
    #[error("the testbed did not start: {0}; start it once more")]
    Hung(String),
    /// The machine came up and then went away under a running command.
    #[error("the testbed has stopped while the command ran{}", with_lines(.0))]
    Lost(String),
    /// The machine came up and then stopped by itself, whether or not anything ran.
    #[error("the testbed has stopped{}", with_lines(.0))]
    Stopped(String),
    /// A file that was named can't be shown to the testbed.
    #[error("{}: {reason}", path.display())]
    Named {
        /// As given.
        path: PathBuf,
        /// Why not, and what to do.
        reason: String,
    },
    /// The testbed could not give the command what it needs.
    #[error("{0}")]
    Surroundings(String),
    /// The command was not found; see [`exit_status`](Self::exit_status).
    #[error("{0}; the testbed has the programs of the host: install it, or check the spelling")]
    NotFound(String),
    /// The command is there and can't be executed.
    #[error("{0}; is it executable, and a program for this machine?")]
    CannotExecute(String),
    /// A lasting testbed was asked for and one is there already, made differently.
    #[error("there is a testbed already: {0}; stop it first: duplex testbed stop")]
    AlreadyRunning(String),
    /// A lasting testbed can't do without the live export of the host's file system.
    #[error(
        "{0}; without it a testbed can't be kept running, but single commands work: duplex testbed run -- COMMAND"
    )]
    NoExport(String),
    /// The disk image that is used instead could not be made, or can't do what was asked for.
    #[error(
        "{0}; no disk image is needed where virtiofsd (apt-get install virtiofsd on Debian 13, qemu-system-x86 on Debian 12) and user namespaces are to be had"
    )]
    Image(String),
    /// Talking to the keeper or the agent failed.
    #[error("the connection to the testbed failed: {0}; try `duplex testbed stop` and again")]
    Connection(#[source] io::Error),
}

impl Error {
    /// The exit status that stands for this error: 127 for a command that was not found, 126 for
    /// one that can't be executed, 125 for a failure of duplex itself.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::NotFound(_) => 127,
            Self::CannotExecute(_) => 126,
            _ => 125,
        }
    }
}

fn with_lines(lines: &str) -> String {
    if lines.is_empty() { String::new() } else { format!(". Its last words:\n{lines}") }
}
