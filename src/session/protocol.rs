//! What the two sides of a session say to each other, as JSON in control frames.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::terminal::WindowSize;

/// What the host's side tells the guest's. `S` is the user's start, which says more than the
/// [`Invocation`] in it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToGuest<S> {
    /// Start this command; first, and once.
    Start(Box<S>),
    /// Standard input has ended.
    StdinEnd,
    /// The caller's terminal has gone away.
    HangUp,
    /// Send the command a signal, or with `group` its process group, as a terminal does.
    Signal { number: i32, group: bool },
    /// The caller's window has changed its size.
    Resize(WindowSize),
    /// Nobody reads this output any more: a write to it shall fail as it would at home.
    OutputClosed(Output),
}

/// What the guest's side tells the host's. `M` are the user's own messages.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToHost<M> {
    /// So many more bytes of standard input may be sent: this bounds what the guest's side has to
    /// hold when the command reads slowly, and keeps the way free for signals.
    Credit(u32),
    /// The command has been stopped, by job control or a signal.
    Stopped,
    /// The command could not be started; nothing ran.
    NotStarted { reason: String, kind: NotStarted },
    /// The user's own.
    Own(M),
    /// The command has ended, and all its output has been sent.
    Ended(Ending),
}

/// One of the command's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A command, and what it is connected to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Invocation {
    /// The program and its arguments.
    pub(crate) argv: Vec<OsString>,
    /// The whole environment.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// The working directory.
    pub(crate) cwd: PathBuf,
    /// What standard input, output and error are at the caller's.
    pub(crate) streams: [StreamKind; 3],
    /// The caller's window, where there is a terminal.
    pub(crate) window: WindowSize,
}

/// What a standard stream is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StreamKind {
    /// Nothing: using it fails with `EBADF`.
    Closed,
    /// A pipe, file or socket.
    Pipe,
    /// A terminal.
    Terminal,
}

/// Why a command was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NotStarted {
    /// There is no such program.
    NotFound,
    /// There is, but it can't be executed.
    CannotExecute,
    /// What the command needs could not be prepared.
    Surroundings,
}

impl NotStarted {
    /// The status to pass on, as shells and docker have it.
    pub(crate) fn exit_status(self) -> u8 {
        match self {
            Self::NotFound => 127,
            Self::CannotExecute => 126,
            Self::Surroundings => 125,
        }
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ending {
    /// It exited with this status.
    Exited(u8),
    /// This signal killed it.
    Killed(i32),
}

impl Ending {
    /// The status to pass on: 128 plus the signal's number, as shells and docker have it.
    pub(crate) fn exit_status(self) -> u8 {
        match self {
            Self::Exited(status) => status,
            Self::Killed(signal) => u8::try_from(signal.saturating_add(128)).unwrap_or(u8::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_the_shells() {
        assert_eq!(Ending::Exited(7).exit_status(), 7);
        assert_eq!(Ending::Killed(libc::SIGKILL).exit_status(), 137);
        assert_eq!(Ending::Killed(i32::MAX).exit_status(), 255);
    }
}
