//! Data and signals to and fro between this process and the command.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::signals::{Arrived, Signals};
use super::streams::{CallersStreams, Sink};
use crate::session::outbox::Outbox;
use crate::session::poll::{Poll, Ready, set_nonblocking};
use crate::session::protocol::{Ending, NotStarted, Output, StreamKind, ToGuest, ToHost};
use crate::session::wire::{self, DATA_LIMIT, Decoder, Frame, REPLY_LIMIT, Stream};
use crate::terminal::RawMode;

/// How often a background process looks whether it has become the foreground one: a shell's `fg`
/// tells nobody about it when the job was running.
const LOOK_FOR_FOREGROUND: Duration = Duration::from_millis(500);

/// The signals that end a program which does nothing about them.
const FATAL: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT];

/// Who runs a session: knows the machine at the other end, and what else is told from there.
pub(crate) trait User {
    /// What starts a command.
    type Start: Serialize;
    /// What the other side tells it beyond what every session does.
    type Message: DeserializeOwned;

    /// A descriptor that becomes readable when there is no use in going on: the machine has ended.
    /// None where the other side going away tells as much.
    fn end_of_machine(&self) -> Option<BorrowedFd<'_>>;

    /// The command has been started.
    fn started(&mut self) {}

    /// The command has written this; what it wrote to its terminal counts as standard output.
    fn wrote(&mut self, _output: Output, _data: &[u8]) {}

    /// A signal is about to be passed on.
    fn passing_on(&mut self) {}

    /// The other side has sent a message. It may be in hostile hands.
    fn message(&mut self, message: Self::Message) -> io::Result<()>;

    /// The other side has sent data that belong to its last message.
    fn data(&mut self, data: &[u8]) -> io::Result<()>;
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With the command.
    Ended(Ending),
    /// The command could not be started.
    NotStarted { reason: String, kind: NotStarted },
    /// The other side went away, and the command with it.
    Lost,
    /// This signal came before the command was started.
    Interrupted(i32),
}

#[derive(Clone, Copy)]
enum Source {
    Port,
    Machine,
    Signals,
    Input,
    Output(Output),
    Terminal,
}

/// The event loop of the host's side.
pub(crate) struct Relay<'a, U> {
    port: File,
    user: &'a mut U,
    decoder: Decoder,
    outbox: Outbox,
    streams: CallersStreams,
    /// How much input the other side is ready to take.
    credit: usize,
    /// Whether the command has been started.
    started: bool,
    /// Why output was lost, other than that nobody reads it any more.
    lost: Option<io::Error>,
    end: Option<End>,
    buffer: Box<[u8]>,
}

impl<'a, U: User> Relay<'a, U> {
    pub(crate) fn new(port: File, streams: CallersStreams, user: &'a mut U) -> Self {
        Self {
            port,
            user,
            decoder: Decoder::new(REPLY_LIMIT),
            outbox: Outbox::default(),
            streams,
            credit: 0,
            started: false,
            lost: None,
            end: None,
            buffer: wire::buffer(),
        }
    }

    /// Starts the command and stays with it until it ends. `on_terminal` says whether it reads from
    /// a terminal there.
    ///
    /// # Errors
    /// The other side's, and that output could not be written: a program that is told to write to a full
    /// disk has failed.
    pub(crate) fn run(
        mut self,
        start: U::Start,
        on_terminal: bool,
        signals: Signals,
    ) -> io::Result<End> {
        set_nonblocking(&self.port)?;
        self.send(&ToGuest::Start(Box::new(start)))?;
        // Not before the signals are taken: one that ended us now would leave the terminal raw.
        let input = self.streams.input.as_ref().filter(|_| on_terminal);
        let mut raw = input.map(RawMode::enter).transpose()?.flatten();
        if self.streams.input.is_none() {
            self.send(&ToGuest::StdinEnd)?;
        }
        self.serve(&signals, &mut raw)?;
        match self.lost {
            None => Ok(self.end.unwrap_or(End::Lost)),
            Some(error) => {
                let text = format!("the command's output cannot be written: {error}");
                Err(io::Error::new(error.kind(), text))
            }
        }
    }

    fn serve(&mut self, signals: &Signals, raw: &mut Option<RawMode>) -> io::Result<()> {
        while self.end.is_none() || !self.streams.all_written() {
            let events = self.wait(signals, raw.as_mut())?;
            for (source, ready) in events {
                match source {
                    Source::Port => self.port_ready(ready, signals, raw)?,
                    // It speaks up during a session only when it is over. What was said last may still
                    // be in the port.
                    Source::Machine => {
                        while self.end.is_none() && self.read_port(signals, raw)? {}
                        self.end.get_or_insert(End::Lost);
                    }
                    Source::Signals => self.forward_signals(signals, raw)?,
                    Source::Input => self.read_input()?,
                    Source::Output(output) => self.write_output(output)?,
                    Source::Terminal => self.write_terminal()?,
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, message: &ToGuest<U::Start>) -> io::Result<()> {
        let mut bytes = Vec::new();
        wire::encode_message(message, &mut bytes).map_err(io::Error::other)?;
        self.outbox.push(&bytes);
        Ok(())
    }

    fn wait(
        &mut self,
        signals: &Signals,
        raw: Option<&mut RawMode>,
    ) -> io::Result<Vec<(Source, Ready)>> {
        // In the background a terminal is not ours to read: we would be stopped for trying.
        let mut in_background = false;
        if let Some(raw) = raw {
            raw.resume()?;
            in_background = !raw.is_active();
        }
        let mut poll = Poll::new();
        let running = self.end.is_none();
        if running {
            // Some of what is said there is answered, and who does not take the answers gets no more.
            let read = !self.streams.any_full() && !self.outbox.is_full();
            poll.add_fd(Source::Port, self.port.as_fd(), read, !self.outbox.is_empty());
            if let Some(end) = self.user.end_of_machine() {
                poll.add_fd(Source::Machine, end, true, false);
            }
        }
        poll.add(Source::Signals, signals, true, false);
        if let Some(input) = &self.streams.input
            && running
            && !in_background
            && self.credit > 0
            && !self.outbox.is_full()
        {
            poll.add(Source::Input, input, true, false);
        }
        for output in [Output::Stdout, Output::Stderr] {
            let sink = match output {
                Output::Stdout => &self.streams.stdout,
                Output::Stderr => &self.streams.stderr,
            };
            if let Some(sink) = sink.as_ref().filter(|sink| !sink.outbox.is_empty()) {
                poll.add(Source::Output(output), sink, false, true);
            }
        }
        if let Some(sink) = self.streams.terminal.as_ref().filter(|s| !s.outbox.is_empty()) {
            poll.add(Source::Terminal, sink, false, true);
        }
        poll.wait(in_background.then_some(LOOK_FOR_FOREGROUND))
    }

    fn port_ready(
        &mut self,
        ready: Ready,
        signals: &Signals,
        raw: &mut Option<RawMode>,
    ) -> io::Result<()> {
        if ready.writable() && !self.outbox.is_empty() {
            match self.outbox.flush(&mut self.port, DATA_LIMIT, false) {
                // Nobody listens any more; what they said before is still to be read.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => self.outbox.clear(),
                other => other.map(drop)?,
            }
        }
        if ready.readable() {
            self.read_port(signals, raw)?;
        }
        Ok(())
    }

    /// Takes what the other side has said; `false` when there is nothing now, or will be no more.
    fn read_port(&mut self, signals: &Signals, raw: &mut Option<RawMode>) -> io::Result<bool> {
        let gone = match self.port.read(&mut self.buffer) {
            Ok(count) => {
                self.decoder.feed(&self.buffer[..count]);
                count == 0
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::Interrupted => return Ok(false),
                ErrorKind::ConnectionReset => true,
                _ => return Err(error),
            },
        };
        while let Some(frame) = self.decoder.next().map_err(io::Error::other)? {
            self.obey(frame, signals, raw)?;
        }
        if gone {
            self.end.get_or_insert(End::Lost);
        }
        Ok(!gone)
    }

    /// Does what the other side says.
    fn obey(
        &mut self,
        frame: Frame,
        signals: &Signals,
        raw: &mut Option<RawMode>,
    ) -> io::Result<()> {
        let (output, sink) = match frame.stream {
            Stream::Stdout => (Output::Stdout, &mut self.streams.stdout),
            Stream::Stderr => (Output::Stderr, &mut self.streams.stderr),
            Stream::Terminal => (Output::Stdout, &mut self.streams.terminal),
            Stream::Control => return self.obey_message(&frame.payload, signals, raw),
            Stream::Stdin => return Err(io::Error::other("the other side sent us input")),
            Stream::Own => return self.user.data(&frame.payload),
        };
        self.user.wrote(output, &frame.payload);
        if let Some(sink) = sink {
            sink.outbox.push(&frame.payload);
        }
        Ok(())
    }

    fn obey_message(
        &mut self,
        payload: &[u8],
        signals: &Signals,
        raw: &mut Option<RawMode>,
    ) -> io::Result<()> {
        match wire::decode_message(payload).map_err(io::Error::other)? {
            ToHost::Credit(more) => {
                self.credit = self.credit.saturating_add(more as usize);
                if !std::mem::replace(&mut self.started, true) {
                    self.user.started();
                }
            }
            ToHost::Stopped => return self.stop_too(signals, raw),
            ToHost::Own(message) => self.user.message(message)?,
            ToHost::NotStarted { reason, kind } => {
                self.end = Some(End::NotStarted { reason, kind });
            }
            ToHost::Ended(ending) => self.end = Some(End::Ended(ending)),
        }
        Ok(())
    }

    /// The command has been stopped: so are we, until somebody continues us.
    fn stop_too(&mut self, signals: &Signals, raw: &mut Option<RawMode>) -> io::Result<()> {
        let had_terminal = raw.as_ref().is_some_and(RawMode::is_active);
        if let Some(raw) = raw {
            raw.suspend()?;
        }
        // What was typed into a raw terminal reached the command alone; natively the terminal
        // would have stopped the whole job.
        signals.stop(had_terminal)?;
        self.continued(raw)
    }

    fn continued(&mut self, raw: &mut Option<RawMode>) -> io::Result<()> {
        if let Some(raw) = raw {
            raw.resume()?;
        }
        self.send(&ToGuest::Resize(self.streams.window()))?;
        self.send(&ToGuest::Signal { number: Signal::SIGCONT as i32, group: true })
    }

    fn forward_signals(&mut self, signals: &Signals, raw: &mut Option<RawMode>) -> io::Result<()> {
        while let Some(Arrived { signal, from_terminal }) = signals.next()? {
            if self.end.is_some() && FATAL.contains(&signal) {
                // The command has ended; whoever is to read its output does not, and we are told
                // to wait no longer.
                self.streams.discard();
            }
            if !self.started && self.end.is_none() && FATAL.contains(&signal) {
                // Nobody is there yet who could do anything about it.
                self.end = Some(End::Interrupted(signal as i32));
                return Ok(());
            }
            match signal {
                Signal::SIGCONT => self.continued(raw)?,
                Signal::SIGWINCH => self.send(&ToGuest::Resize(self.streams.window()))?,
                _ => {
                    self.user.passing_on();
                    self.send(&ToGuest::Signal { number: signal as i32, group: from_terminal })?;
                }
            }
        }
        Ok(())
    }

    fn read_input(&mut self) -> io::Result<()> {
        let Some(input) = &mut self.streams.input else { return Ok(()) };
        let limit = self.buffer.len().min(self.credit);
        match input.read(&mut self.buffer[..limit]) {
            Ok(None) => {}
            Ok(Some(count)) if count > 0 => {
                self.credit -= count;
                let mut bytes = Vec::new();
                wire::encode_data(Stream::Stdin, &self.buffer[..count], &mut bytes);
                self.outbox.push(&bytes);
            }
            // The end; or an input that can't be read, such as a terminal that has hung up, which
            // is an end as well.
            Ok(Some(_)) | Err(_) => {
                let terminal = self.streams.kinds()[0] == StreamKind::Terminal;
                self.streams.input = None;
                self.send(if terminal { &ToGuest::HangUp } else { &ToGuest::StdinEnd })?;
            }
        }
        Ok(())
    }

    fn write_output(&mut self, output: Output) -> io::Result<()> {
        let slot = self.streams.output(output);
        // Nobody reads it any more, or the disk is full: the command shall learn that as it would here.
        if let Some(Err(error)) = slot.as_mut().map(Sink::flush) {
            *slot = None;
            if error.kind() != ErrorKind::BrokenPipe {
                self.lost = Some(error);
            }
            self.send(&ToGuest::OutputClosed(output))?;
        }
        Ok(())
    }

    fn write_terminal(&mut self) -> io::Result<()> {
        if self.streams.terminal.as_mut().is_some_and(|sink| sink.flush().is_err()) {
            self.streams.terminal = None;
            self.send(&ToGuest::HangUp)?;
        }
        Ok(())
    }
}
