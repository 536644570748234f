//! The way to the host's side: frames in both directions.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::session::outbox::Outbox;
use crate::session::poll::Poll;
use crate::session::protocol::{ToGuest, ToHost};
use crate::session::wire::{self, DATA_LIMIT, Decoder, Frame, START_LIMIT, Stream};

/// The way to the host's side.
pub(crate) struct Port {
    file: File,
    decoder: Decoder,
    outbox: Outbox,
    buffer: Box<[u8]>,
}

impl Port {
    /// Takes a channel on which a session begins, and waits for what to start. Reads and writes on
    /// it must not wait.
    pub(crate) fn accept<S: DeserializeOwned>(file: File) -> io::Result<(Self, Box<S>)> {
        let decoder = Decoder::new(START_LIMIT);
        let mut port = Self { file, decoder, outbox: Outbox::default(), buffer: wire::buffer() };
        loop {
            if let Some(frame) = port.next_frame()? {
                return match wire::decode_message(&frame.payload).map_err(io::Error::other)? {
                    ToGuest::Start(start) => Ok((port, start)),
                    _ => Err(io::Error::other("the first message must start something")),
                };
            }
            let mut poll = Poll::new();
            poll.add_fd((), port.file.as_fd(), true, false);
            poll.wait(None)?;
            if !port.receive()? {
                return Err(Errno::EPIPE.into());
            }
        }
    }

    /// Queues a message.
    pub(crate) fn send<M: Serialize>(&mut self, message: &ToHost<M>) -> io::Result<()> {
        let mut bytes = Vec::new();
        wire::encode_message(message, &mut bytes).map_err(io::Error::other)?;
        self.outbox.push(&bytes);
        Ok(())
    }

    /// Queues data of a stream.
    pub(crate) fn send_data(&mut self, stream: Stream, data: &[u8]) {
        let mut bytes = Vec::new();
        wire::encode_data(stream, data, &mut bytes);
        self.outbox.push(&bytes);
    }

    /// Sends data that belong to the last message of the user's own, and waits while the host's
    /// side is behind.
    pub(crate) fn send_own(&mut self, data: &[u8]) -> io::Result<()> {
        self.send_data(Stream::Own, data);
        while self.outbox.is_full() {
            let mut poll = Poll::new();
            poll.add_fd((), self.file.as_fd(), true, true);
            for ((), ready) in poll.wait(None)? {
                if ready.readable() && !self.receive()? {
                    return Err(Errno::EPIPE.into());
                }
                if ready.writable() {
                    self.flush()?;
                }
            }
        }
        Ok(())
    }

    /// The next frame that has arrived whole.
    pub(crate) fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        self.decoder.next().map_err(io::Error::other)
    }

    /// How many bytes wait to be sent.
    pub(crate) fn queued(&self) -> usize {
        self.outbox.len()
    }

    /// Whether the host's side is behind.
    pub(crate) fn is_full(&self) -> bool {
        self.outbox.is_full()
    }

    /// Reads once. `false` when the host's side is gone.
    pub(crate) fn receive(&mut self) -> io::Result<bool> {
        match self.file.read(&mut self.buffer) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.decoder.feed(&self.buffer[..count]);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Sends what the host's side takes now.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.outbox.flush(&mut self.file, DATA_LIMIT, false).map(drop)
    }

    /// Sends what is queued, and stays until the host's side has gone: closing the port earlier could
    /// take what it has not read yet.
    pub(crate) fn linger(mut self) -> io::Result<()> {
        loop {
            let mut poll = Poll::new();
            poll.add_fd((), self.file.as_fd(), true, !self.outbox.is_empty());
            for ((), ready) in poll.wait(None)? {
                if ready.hung_up() {
                    return Ok(());
                }
                if ready.readable() && !self.receive()? {
                    return Ok(());
                }
                // Late signals and input are for a command that is no more.
                while self.next_frame()?.is_some() {}
                if ready.writable() {
                    self.flush()?;
                }
            }
        }
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
