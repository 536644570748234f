//! The client's port: frames in both directions.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;

use crate::testbed::outbox::Outbox;
use crate::testbed::poll::Poll;
use crate::testbed::protocol::ToClient;
use crate::testbed::wire::{self, DATA_LIMIT, Decoder, Frame, Stream};

/// The client's port: frames in both directions.
pub(super) struct Port {
    file: File,
    decoder: Decoder,
    outbox: Outbox,
}

impl Port {
    pub(super) fn new(file: File, decoder: Decoder) -> Self {
        Self { file, decoder, outbox: Outbox::default() }
    }

    /// Queues a message.
    pub(super) fn send(&mut self, message: &ToClient) -> io::Result<()> {
        let mut bytes = Vec::new();
        wire::encode_message(message, &mut bytes).map_err(io::Error::other)?;
        self.outbox.push(&bytes);
        Ok(())
    }

    /// Queues data of a stream.
    pub(super) fn send_data(&mut self, stream: Stream, data: &[u8]) {
        let mut bytes = Vec::new();
        wire::encode_data(stream, data, &mut bytes);
        self.outbox.push(&bytes);
    }

    /// Sends a part of a file, and waits while the client is behind.
    pub(super) fn send_file(&mut self, data: &[u8]) -> io::Result<()> {
        self.send_data(Stream::File, data);
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
    pub(super) fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        self.decoder.next().map_err(io::Error::other)
    }

    /// How many bytes wait to be sent.
    pub(super) fn queued(&self) -> usize {
        self.outbox.len()
    }

    /// Whether the client is behind.
    pub(super) fn is_full(&self) -> bool {
        self.outbox.is_full()
    }

    /// Reads once. `false` when the client is gone.
    pub(super) fn receive(&mut self) -> io::Result<bool> {
        let mut buffer = [0; DATA_LIMIT];
        match self.file.read(&mut buffer) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.decoder.feed(&buffer[..count]);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Sends what the client takes now.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.outbox.flush(&mut self.file, DATA_LIMIT, false).map(drop)
    }

    /// Sends what is queued, and stays until the client has gone: closing the port earlier could
    /// take what it has not read yet.
    pub(super) fn linger(mut self) -> io::Result<()> {
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
