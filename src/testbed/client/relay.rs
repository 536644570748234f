//! Data and signals to and fro between this process and the command in the testbed.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::last_words;
use super::signals::{Arrived, Signals};
use super::streams::CallersStreams;
use crate::terminal::RawMode;
use crate::testbed::control::Channel;
use crate::testbed::error::Error;
use crate::testbed::files::NamedFile;
use crate::testbed::model::{Clock, Outcome};
use crate::testbed::outbox::Outbox;
use crate::testbed::poll::{Poll, Ready, set_nonblocking};
use crate::testbed::protocol::{NotStarted, Output, Start, StreamKind, ToAgent, ToClient};
use crate::testbed::wire::{self, DATA_LIMIT, Decoder, Frame, REPLY_LIMIT, Stream};

/// How often a background process looks whether it has become the foreground one: a shell's `fg`
/// tells nobody about it when the job was running.
const LOOK_FOR_FOREGROUND: Duration = Duration::from_millis(500);

/// The signals that end a program which does nothing about them.
const FATAL: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT];

#[derive(Clone, Copy)]
enum Source {
    Port,
    Keeper,
    Signals,
    Input,
    Output(Output),
    Terminal,
}

/// The client's event loop.
pub(super) struct Relay<'a> {
    port: File,
    channel: &'a Channel,
    decoder: Decoder,
    outbox: Outbox,
    streams: CallersStreams,
    files: &'a [NamedFile],
    clock: Clock,
    /// The file whose new content is arriving.
    written: Option<File>,
    /// How much input the agent is ready to take.
    credit: usize,
    end: Option<Result<Outcome, Error>>,
}

impl<'a> Relay<'a> {
    pub(super) fn new(
        port: File,
        channel: &'a Channel,
        streams: CallersStreams,
        files: &'a [NamedFile],
        clock: Clock,
    ) -> Self {
        Self {
            port,
            channel,
            decoder: Decoder::new(REPLY_LIMIT),
            outbox: Outbox::default(),
            streams,
            files,
            clock,
            written: None,
            credit: 0,
            end: None,
        }
    }

    /// Starts the command and stays with it until it ends.
    pub(super) fn run(mut self, start: Start) -> Result<Outcome, Error> {
        let end = self.start_and_serve(start);
        let told = self.end.take();
        end.map_err(Error::Connection)?;
        told.unwrap_or_else(|| Err(Error::Lost(last_words(self.channel))))
    }

    fn start_and_serve(&mut self, start: Start) -> io::Result<()> {
        set_nonblocking(&self.port)?;
        let on_terminal = start.streams[0] == StreamKind::Terminal;
        self.send(&ToAgent::Start(Box::new(start)))?;
        let signals = Signals::take()?;
        // Not before the signals are taken: one that ended us now would leave the terminal raw.
        let input = self.streams.input.as_ref().filter(|_| on_terminal);
        let mut raw = input.map(RawMode::enter).transpose()?.flatten();
        if self.streams.input.is_none() || self.clock == Clock::Instructions {
            self.streams.input = None;
            self.send(&ToAgent::StdinEnd)?;
        }
        while self.end.is_none() || !self.streams.all_written() {
            let events = self.wait(&signals, raw.as_mut())?;
            for (source, ready) in events {
                match source {
                    Source::Port => {
                        if !self.port_ready(ready, &signals, &mut raw)? {
                            return Ok(());
                        }
                    }
                    Source::Keeper => return self.keeper_spoke(),
                    Source::Signals => self.forward_signals(&signals, &mut raw)?,
                    Source::Input => self.read_input()?,
                    Source::Output(output) => self.write_output(output)?,
                    Source::Terminal => self.write_terminal()?,
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, message: &ToAgent) -> io::Result<()> {
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
            let read = !self.streams.any_full();
            poll.add_fd(Source::Port, self.port.as_fd(), read, !self.outbox.is_empty());
            poll.add(Source::Keeper, self.channel, true, false);
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

    /// `false` when the machine has gone away.
    fn port_ready(
        &mut self,
        ready: Ready,
        signals: &Signals,
        raw: &mut Option<RawMode>,
    ) -> io::Result<bool> {
        if ready.writable() && !self.outbox.is_empty() {
            match self.outbox.flush(&mut self.port, DATA_LIMIT, false) {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(false),
                other => other?,
            };
        }
        if !ready.readable() {
            return Ok(true);
        }
        let mut buffer = [0; DATA_LIMIT];
        match self.port.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => self.decoder.feed(&buffer[..count]),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::Interrupted => return Ok(true),
                ErrorKind::ConnectionReset => return Ok(false),
                _ => return Err(error),
            },
        }
        while let Some(frame) = self.decoder.next().map_err(io::Error::other)? {
            self.obey(frame, signals, raw)?;
        }
        Ok(true)
    }

    /// Does what the agent says.
    fn obey(
        &mut self,
        frame: Frame,
        signals: &Signals,
        raw: &mut Option<RawMode>,
    ) -> io::Result<()> {
        let sink = match frame.stream {
            Stream::Stdout => &mut self.streams.stdout,
            Stream::Stderr => &mut self.streams.stderr,
            Stream::Terminal => &mut self.streams.terminal,
            Stream::Control => return self.obey_message(&frame.payload, signals, raw),
            Stream::Stdin => return Err(io::Error::other("the agent sent us input")),
            Stream::File => {
                let file = self.written.as_mut();
                let file = file.ok_or_else(|| io::Error::other("content of no file"))?;
                return file.write_all(&frame.payload);
            }
        };
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
            ToClient::Credit(more) => self.credit = self.credit.saturating_add(more as usize),
            ToClient::Stopped => return self.stop_too(signals, raw),
            ToClient::Written(number) => self.receive_file(number)?,
            ToClient::NotStarted { reason, kind } => {
                self.end = Some(Err(match kind {
                    NotStarted::NotFound => Error::NotFound(reason),
                    NotStarted::CannotExecute => Error::CannotExecute(reason),
                    NotStarted::Surroundings => Error::Surroundings(reason),
                }));
            }
            ToClient::Ended { status, counts } => {
                self.file_complete()?;
                self.end = Some(Ok(Outcome { status: status.exit_status(), counts }));
            }
        }
        Ok(())
    }

    /// From a disk image, a file comes back as a whole. Only to files that were named for writing:
    /// the other side may be in hostile hands.
    fn receive_file(&mut self, number: usize) -> io::Result<()> {
        self.file_complete()?;
        let file = self.files.get(number).filter(|file| file.export.write);
        let file = file.ok_or_else(|| io::Error::other("content of a file that was not named"))?;
        let mut file = File::from(file.opened.try_clone()?);
        file.set_len(0)?;
        file.rewind()?;
        self.written = Some(file);
        Ok(())
    }

    fn file_complete(&mut self) -> io::Result<()> {
        self.written.take().map_or(Ok(()), |file| file.sync_all())
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
        self.send(&ToAgent::Resize(self.streams.window()))?;
        self.send(&ToAgent::Signal { number: Signal::SIGCONT as i32, group: true })
    }

    fn forward_signals(&mut self, signals: &Signals, raw: &mut Option<RawMode>) -> io::Result<()> {
        while let Some(Arrived { signal, from_terminal }) = signals.next()? {
            if self.end.is_some() && FATAL.contains(&signal) {
                // The command has ended; whoever is to read its output does not, and we are told
                // to wait no longer.
                self.streams.discard();
            }
            match signal {
                Signal::SIGCONT => self.continued(raw)?,
                Signal::SIGWINCH => self.send(&ToAgent::Resize(self.streams.window()))?,
                _ => self.send(&ToAgent::Signal { number: signal as i32, group: from_terminal })?,
            }
        }
        Ok(())
    }

    fn read_input(&mut self) -> io::Result<()> {
        let Some(input) = &mut self.streams.input else { return Ok(()) };
        let mut buffer = [0; DATA_LIMIT];
        let limit = buffer.len().min(self.credit);
        match input.read(&mut buffer[..limit]) {
            Ok(None) => {}
            Ok(Some(count)) if count > 0 => {
                self.credit -= count;
                let mut bytes = Vec::new();
                wire::encode_data(Stream::Stdin, &buffer[..count], &mut bytes);
                self.outbox.push(&bytes);
            }
            // The end; or an input that can't be read, such as a terminal that has hung up, which
            // is an end as well.
            Ok(Some(_)) | Err(_) => {
                let terminal = self.streams.kinds()[0] == StreamKind::Terminal;
                self.streams.input = None;
                self.send(if terminal { &ToAgent::HangUp } else { &ToAgent::StdinEnd })?;
            }
        }
        Ok(())
    }

    fn write_output(&mut self, output: Output) -> io::Result<()> {
        let slot = self.streams.output(output);
        // Nobody reads it any more: the command shall learn that as it would here.
        if slot.as_mut().is_some_and(|sink| sink.flush().is_err()) {
            *slot = None;
            self.send(&ToAgent::OutputClosed(output))?;
        }
        Ok(())
    }

    fn write_terminal(&mut self) -> io::Result<()> {
        if self.streams.terminal.as_mut().is_some_and(|sink| sink.flush().is_err()) {
            self.streams.terminal = None;
            self.send(&ToAgent::HangUp)?;
        }
        Ok(())
    }

    /// The keeper speaks up during a session only when it is over.
    fn keeper_spoke(&mut self) -> io::Result<()> {
        self.end = Some(Err(Error::Lost(last_words(self.channel))));
        Ok(())
    }
}
