//! Staying with a command until it ends, in either half.

use std::io::{self, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::order::Subject;
use crate::cli::say;
use crate::init::{Message, Start};
use crate::instances::{Ended, Instance, Log};
use crate::isolate::cgroups::{Group, Usage};
use crate::session::host::{CallersStreams, End, Relay, Signals, User};
use crate::session::protocol::{Ending, Output};
use crate::trace::boot::{Phase, Recorder};

/// How it has gone.
pub(super) struct Attended {
    /// The session's end.
    pub(super) end: End,
    /// How many processes the guest's kernel killed for want of memory.
    pub(super) killed: u64,
}

/// Has the command started at the other end of `channel`, and passes data and signals to and fro until
/// it ends, or `machine` becomes readable: what it runs in has ended. `group` is what it is in.
pub(super) fn attend(
    subject: &Subject,
    mut start: Start,
    instance: &Instance,
    channel: UnixStream,
    (machine, group): (BorrowedFd<'_>, &Group),
    signals: Signals,
    recorder: Option<&Recorder>,
) -> io::Result<Attended> {
    let mut streams = CallersStreams::take_for(subject.input, subject.terminal)?;
    if subject.detached {
        streams.discard();
    }
    start.invocation.streams = streams.kinds();
    start.invocation.window = streams.window();
    let detached = subject.detached;
    let mut attendant =
        Attendant { machine, group, detached, log: instance.log()?, recorder, killed: 0 };
    let on_terminal = subject.terminal && subject.input;
    let relay = Relay::new(OwnedFd::from(channel).into(), streams, &mut attendant);
    let end = relay.run(start, on_terminal, signals)?;
    Ok(Attended { end, killed: attendant.killed })
}

struct Attendant<'a> {
    machine: BorrowedFd<'a>,
    group: &'a Group,
    detached: bool,
    log: Option<Log>,
    recorder: Option<&'a Recorder>,
    killed: u64,
}

impl Attendant<'_> {
    fn reached(&self, phase: Phase) {
        if let Some(recorder) = self.recorder {
            recorder.reached(phase);
        }
    }
}

impl User for Attendant<'_> {
    type Start = Start;
    type Message = Message;

    fn end_of_machine(&self) -> Option<BorrowedFd<'_>> {
        Some(self.machine)
    }

    fn started(&mut self) {
        self.reached(Phase::CommandStarted);
        if self.detached {
            // Whoever waits for it has a pipe there.
            let _ = writeln!(io::stdout(), "started");
        }
    }

    fn wrote(&mut self, output: Output, data: &[u8]) {
        if output == Output::Stdout {
            self.reached(Phase::FirstOutput);
        }
        if let Some(log) = &mut self.log
            && let Err(error) = log.add(output, data)
        {
            log::warn!("what the command wrote is missing in its log: {error}");
        }
    }

    /// What is paused can do nothing about a signal. One who sends it from elsewhere cannot always let it go
    /// on: from outside of the testbed nobody can.
    fn passing_on(&mut self) {
        if self.group.is_frozen()
            && let Err(error) = self.group.thaw()
        {
            log::warn!("a signal waits until `duplex resume`: {error}");
        }
    }

    fn message(&mut self, Message::OutOfMemory { killed }: Message) -> io::Result<()> {
        self.killed = killed;
        Ok(())
    }

    fn data(&mut self, _data: &[u8]) -> io::Result<()> {
        Err(io::Error::other("the other side sent data that belong to nothing"))
    }
}

/// How a run has ended: for its caller, and for those who ask later.
pub(super) struct Conclusion {
    status: u8,
    /// What is to be said about it.
    said: Option<String>,
    /// Whether the command has run.
    ran: bool,
}

/// What became of a command whose session broke off.
pub(super) struct Lost {
    /// The exit status.
    pub(super) status: u8,
    /// What is to be said.
    pub(super) said: String,
}

impl Conclusion {
    /// `starved` is what to say where memory has run out.
    pub(super) fn new(
        end: End,
        starved: Option<String>,
        lost: impl FnOnce() -> Lost,
    ) -> Conclusion {
        match end {
            End::Ended(ending) => {
                Conclusion { status: ending.exit_status(), said: starved, ran: true }
            }
            End::NotStarted { reason, kind } => {
                Conclusion { status: kind.exit_status(), said: Some(reason), ran: false }
            }
            End::Interrupted(number) => {
                let status = Ending::Killed(number).exit_status();
                Conclusion { status, said: None, ran: false }
            }
            End::Lost => {
                let Lost { status, said } = lost();
                Conclusion { status, said: Some(starved.unwrap_or(said)), ran: true }
            }
        }
    }

    /// Tells both; returns the exit status. Nothing that belongs to the instance outside of its place may
    /// be left. One whose command has not run is forgotten.
    pub(super) fn tell(self, instance: Instance, usage: Option<Usage>) -> io::Result<u8> {
        if let Some(said) = &self.said {
            say(said);
        }
        if self.ran {
            instance.conclude(&Ended::now(self.status, self.said, usage))?;
        }
        Ok(self.status)
    }
}
