//! Data to and fro between the host's side and the command's streams.

use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, setsid};
use serde::de::IgnoredAny;

use super::command::Command;
use super::observer::Observer;
use super::port::Port;
use crate::session::children::{Change, next_change, wait_for_all};
use crate::session::outbox::Outbox;
use crate::session::poll::{Poll, Ready};
use crate::session::protocol::{Ending, Output, ToGuest, ToHost};
use crate::session::wire::{self, DATA_LIMIT, Frame, Stream};

/// How much input the host's side may send ahead of the command.
const WINDOW: u32 = 128 << 10;

#[derive(Clone, Copy)]
enum Source {
    Port,
    Children,
    Stdin,
    Stdout,
    Stderr,
    Terminal,
    Observer,
}

/// The event loop of the guest's side.
pub(crate) struct Relay<O> {
    port: Port,
    command: Command,
    children: SignalFd,
    observer: O,
    /// Input on its way to the command.
    input: Outbox,
    input_ended: bool,
    /// Input taken by the command since the host's side was last told.
    unreported: u32,
    ending: Option<Ending>,
    buffer: Box<[u8]>,
}

impl<O: Observer> Relay<O> {
    /// `children` is what [`child_signals`] returned.
    pub(crate) fn new(port: Port, command: Command, children: SignalFd, observer: O) -> Self {
        Self {
            port,
            command,
            children,
            observer,
            input: Outbox::default(),
            input_ended: false,
            unreported: WINDOW,
            ending: None,
            buffer: wire::buffer(),
        }
    }

    /// Runs until the command has ended and its output has been taken.
    ///
    /// # Errors
    /// `EPIPE` when the host's side has gone away: the session ends then, and the command with it.
    pub(crate) fn run(&mut self) -> io::Result<Ending> {
        self.report_credit()?;
        // What came together with the start.
        self.obey_all()?;
        loop {
            // What the command wrote before it ended is in the pipes by now.
            if let Some(ending) = self.ending
                && !self.port.is_full()
                && !self.drain()?
            {
                return Ok(ending);
            }
            for (source, ready) in self.wait()? {
                self.handle(source, ready)?;
            }
        }
    }

    pub(crate) fn into_parts(self) -> (Port, O) {
        (self.port, self.observer)
    }

    /// Sends the command's process group a signal.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        self.command.signal(signal as i32, true)
    }

    /// Ends every other process. To be called by PID 1 only.
    pub(crate) fn end_others(&self) -> io::Result<()> {
        // From PID 1: everything but ourselves, in its namespace.
        match kill(Pid::from_raw(-1), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error.into()),
        }
        wait_for_all()
    }

    fn wait(&mut self) -> io::Result<Vec<(Source, Ready)>> {
        let mut poll = Poll::new();
        let room = !self.output_is_full();
        let sending = self.port.queued() > 0 && !self.holding_back();
        poll.add_fd(Source::Port, self.port.as_fd(), true, sending);
        poll.add_fd(Source::Children, self.children.as_fd(), true, false);
        if let Some(stdin) = &self.command.stdin {
            // Also waited for when there is nothing to write: a hang-up tells that the command
            // reads no more.
            poll.add(Source::Stdin, stdin, false, !self.input.is_empty());
        }
        if let Some(stdout) = self.command.stdout.as_ref().filter(|_| room) {
            poll.add(Source::Stdout, stdout, true, false);
        }
        if let Some(stderr) = self.command.stderr.as_ref().filter(|_| room) {
            poll.add(Source::Stderr, stderr, true, false);
        }
        if let Some(terminal) = &self.command.terminal
            && (room || !self.input.is_empty())
        {
            poll.add(Source::Terminal, terminal, room, !self.input.is_empty());
        }
        if let Some(interest) = self.observer.interest() {
            poll.add_fd(Source::Observer, interest, true, false);
        }
        poll.wait(None)
    }

    /// Whether nothing shall be sent before the end: the sending would be observed too.
    fn holding_back(&self) -> bool {
        let held = |limit| self.ending.is_none() && self.port.queued() < limit;
        self.observer.held_limit().is_some_and(held)
    }

    fn output_is_full(&self) -> bool {
        match self.observer.held_limit() {
            None => self.port.is_full(),
            Some(limit) => self.port.queued() >= limit,
        }
    }

    fn handle(&mut self, source: Source, ready: Ready) -> io::Result<()> {
        match source {
            Source::Port => {
                if ready.readable() && !self.port.receive()? {
                    return Err(Errno::EPIPE.into());
                }
                self.obey_all()?;
                if ready.writable() && !self.holding_back() {
                    self.port.flush()?;
                }
            }
            Source::Children => self.reap()?,
            Source::Stdin => {
                if ready.hung_up() {
                    self.close_stdin()?;
                } else if ready.writable() {
                    self.feed_stdin()?;
                }
            }
            Source::Terminal => {
                if ready.writable() && !self.input.is_empty() {
                    self.feed_terminal()?;
                }
                if ready.readable() {
                    self.read_terminal()?;
                }
            }
            Source::Observer => self.observer.ready(),
            Source::Stdout => drop(self.read_output(Output::Stdout)?),
            Source::Stderr => drop(self.read_output(Output::Stderr)?),
        }
        Ok(())
    }

    fn obey_all(&mut self) -> io::Result<()> {
        while let Some(frame) = self.port.next_frame()? {
            self.obey(frame)?;
        }
        Ok(())
    }

    /// Does what the host's side says.
    fn obey(&mut self, frame: Frame) -> io::Result<()> {
        if frame.stream == Stream::Stdin {
            self.input.push(&frame.payload);
            return self.feed();
        }
        match wire::decode_message::<ToGuest<IgnoredAny>>(&frame.payload)
            .map_err(io::Error::other)?
        {
            ToGuest::StdinEnd => {
                self.input_ended = true;
                self.feed()
            }
            ToGuest::HangUp => {
                self.command.signal(libc::SIGHUP, true)?;
                self.command.signal(libc::SIGCONT, true)
            }
            ToGuest::Signal { number, group } => self.command.signal(number, group),
            ToGuest::Resize(window) => self.command.resize(window),
            ToGuest::OutputClosed(Output::Stdout) => {
                self.command.stdout = None;
                Ok(())
            }
            ToGuest::OutputClosed(Output::Stderr) => {
                self.command.stderr = None;
                Ok(())
            }
            ToGuest::Start(_) => Err(io::Error::other("a second start on the same session")),
        }
    }

    fn feed(&mut self) -> io::Result<()> {
        if self.command.stdin.is_some() {
            self.feed_stdin()
        } else if self.command.terminal.is_some() {
            self.feed_terminal()
        } else {
            self.discard_input()
        }
    }

    fn feed_stdin(&mut self) -> io::Result<()> {
        let Some(stdin) = &mut self.command.stdin else { return Ok(()) };
        match self.input.flush(stdin, DATA_LIMIT, false) {
            Ok(taken) => self.credit(taken)?,
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return self.close_stdin(),
            Err(error) => return Err(error),
        }
        if self.input_ended && self.input.is_empty() {
            self.command.stdin = None;
        }
        Ok(())
    }

    fn feed_terminal(&mut self) -> io::Result<()> {
        let Some(terminal) = &mut self.command.terminal else { return Ok(()) };
        match self.input.flush(terminal, DATA_LIMIT, false) {
            Ok(taken) => self.credit(taken),
            // Everybody has closed the terminal.
            Err(error) if error.raw_os_error() == Some(libc::EIO) => self.discard_input(),
            Err(error) => Err(error),
        }
    }

    /// The command reads no more. The host's side goes on sending, as a writer into a pipe that
    /// nobody has told; its credit must not run dry.
    fn close_stdin(&mut self) -> io::Result<()> {
        self.command.stdin = None;
        self.discard_input()
    }

    fn discard_input(&mut self) -> io::Result<()> {
        let dropped = self.input.len();
        self.input.clear();
        self.credit(dropped)
    }

    fn credit(&mut self, taken: usize) -> io::Result<()> {
        self.unreported = self.unreported.saturating_add(u32::try_from(taken).unwrap_or(u32::MAX));
        // In large pieces: each report is a frame.
        if self.unreported >= WINDOW / 4 { self.report_credit() } else { Ok(()) }
    }

    fn report_credit(&mut self) -> io::Result<()> {
        let credit = std::mem::take(&mut self.unreported);
        self.port.send(&ToHost::<()>::Credit(credit))
    }

    /// Reads once; whether there was anything.
    fn read_output(&mut self, output: Output) -> io::Result<bool> {
        let (file, stream) = match output {
            Output::Stdout => (&mut self.command.stdout, Stream::Stdout),
            Output::Stderr => (&mut self.command.stderr, Stream::Stderr),
        };
        let Some(reader) = file else { return Ok(false) };
        match reader.read(&mut self.buffer) {
            Ok(0) => {
                *file = None;
                Ok(false)
            }
            Ok(count) => {
                if output == Output::Stdout {
                    self.observer.wrote(&self.buffer[..count]);
                }
                self.port.send_data(stream, &self.buffer[..count]);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn read_terminal(&mut self) -> io::Result<bool> {
        let Some(terminal) = &mut self.command.terminal else { return Ok(false) };
        match terminal.read(&mut self.buffer) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.port.send_data(Stream::Terminal, &self.buffer[..count]);
                Ok(true)
            }
            // Nobody has the terminal open any more, and nobody can open it again.
            Err(error) if error.raw_os_error() == Some(libc::EIO) => {
                self.command.terminal = None;
                Ok(false)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// After the end: takes what is left in the streams; whether there was anything.
    fn drain(&mut self) -> io::Result<bool> {
        let terminal = self.read_terminal()?;
        let stdout = self.read_output(Output::Stdout)?;
        let stderr = self.read_output(Output::Stderr)?;
        Ok(terminal || stdout || stderr)
    }

    /// Children have changed state: the command, or orphans that came to us as PID 1.
    fn reap(&mut self) -> io::Result<()> {
        while self.children.read_signal()?.is_some() {}
        while let Some((pid, change)) = next_change()? {
            if pid != self.command.pid {
                continue;
            }
            match change {
                Change::Ended(ending) => {
                    self.observer.ended();
                    self.ending = Some(ending);
                }
                Change::Stopped => self.port.send(&ToHost::<()>::Stopped)?,
            }
        }
        Ok(())
    }
}

/// Makes this process the leader of a terminal session, if it is not yet.
pub(crate) fn lead_session() -> nix::Result<()> {
    match setsid() {
        // A kernel's first process is in nobody's session, and a leader already is one.
        Ok(_) | Err(Errno::EPERM) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Prepares this process for a [`Relay`], before the command is started: what tells of children, and
/// which signals must not disturb.
pub(crate) fn child_signals() -> nix::Result<SignalFd> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    // Taking the terminal's foreground from and for the command must not stop this process, and
    // when the terminal goes away, the signal is for the command alone.
    let mut blocked = signals;
    blocked.add(Signal::SIGTTOU);
    blocked.add(Signal::SIGHUP);
    blocked.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}
