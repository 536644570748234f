//! Frames on a session's byte channel: which stream, how long, the bytes.
//!
//! ```text
//! stream: u8 │ length: u32, little-endian │ payload
//! ```
//!
//! Control messages are JSON on a stream of their own; everything else is the command's data.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Which stream a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stream {
    /// Messages of [`protocol`](super::protocol).
    Control = 0,
    /// What the command reads, be it a pipe or a terminal.
    Stdin = 1,
    /// What the command writes to a standard output that is no terminal.
    Stdout = 2,
    /// What the command writes to a standard error that is no terminal.
    Stderr = 3,
    /// What comes out of the command's terminal, echo included.
    Terminal = 4,
    /// Data that belong to the last message of the user's own.
    Own = 5,
}

impl TryFrom<u8> for Stream {
    type Error = Error;

    fn try_from(byte: u8) -> Result<Self, Error> {
        [Self::Control, Self::Stdin, Self::Stdout, Self::Stderr, Self::Terminal, Self::Own]
            .into_iter()
            .find(|stream| *stream as u8 == byte)
            .ok_or(Error::Stream(byte))
    }
}

/// One frame, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) stream: Stream,
    pub(crate) payload: Vec<u8>,
}

/// What is wrong with what the other side sent.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Error {
    #[error("the other side sent a frame of unknown kind {0}")]
    Stream(u8),
    #[error("the other side sent a frame of {length} bytes, more than the {limit} agreed on")]
    Length { length: usize, limit: usize },
    #[error("the other side sent a message that can't be understood: {0}")]
    Message(String),
}

const HEADER: usize = 5;

/// The most bytes of data in one frame.
pub(crate) const DATA_LIMIT: usize = 32 << 10;

/// Room for as much as is read at once. Made once a session: to clear it for each read takes longer than
/// most reads.
pub(crate) fn buffer() -> Box<[u8]> {
    vec![0; DATA_LIMIT].into()
}

/// The most bytes of a control message to the guest's side: a command line and an environment at Linux's
/// own limit (2 MiB by default), in JSON.
pub(crate) const START_LIMIT: usize = 16 << 20;

/// The most bytes of a control message from there, which may be in a hostile guest's hands.
pub(crate) const REPLY_LIMIT: usize = 64 << 10;

/// Appends a frame of data to `out`; more than [`DATA_LIMIT`] becomes several.
pub(crate) fn encode_data(stream: Stream, data: &[u8], out: &mut Vec<u8>) {
    for chunk in data.chunks(DATA_LIMIT) {
        encode(stream, chunk, out);
    }
}

/// Appends a control message to `out`.
pub(crate) fn encode_message(message: &impl Serialize, out: &mut Vec<u8>) -> Result<(), Error> {
    let json = serde_json::to_vec(message).map_err(|error| Error::Message(error.to_string()))?;
    if json.len() > START_LIMIT {
        return Err(Error::Length { length: json.len(), limit: START_LIMIT });
    }
    encode(Stream::Control, &json, out);
    Ok(())
}

/// Reads a control message.
pub(crate) fn decode_message<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(payload).map_err(|error| Error::Message(error.to_string()))
}

fn encode(stream: Stream, payload: &[u8], out: &mut Vec<u8>) {
    // Both callers bound the length far below 4 GiB.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.push(stream as u8);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(payload);
}

/// Puts frames together again from bytes that arrive in pieces of any size.
#[derive(Debug)]
pub(crate) struct Decoder {
    pending: Vec<u8>,
    control_limit: usize,
}

impl Decoder {
    /// A decoder that accepts control messages of up to `control_limit` bytes.
    pub(crate) fn new(control_limit: usize) -> Self {
        Self { pending: Vec::new(), control_limit }
    }

    /// Adds bytes as they came.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Takes out the next frame that is complete.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, Error> {
        let Some((header, rest)) = self.pending.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let stream = Stream::try_from(header[0])?;
        let [_, length @ ..] = *header;
        let length = u32::from_le_bytes(length) as usize;
        // Refused by the header alone: what is never accepted is never stored.
        let limit = if stream == Stream::Control { self.control_limit } else { DATA_LIMIT };
        if length > limit {
            return Err(Error::Length { length, limit });
        }
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        let payload = payload.to_vec();
        self.pending.drain(..HEADER + length);
        Ok(Some(Frame { stream, payload }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_survive_any_fragmentation(
            data in prop::collection::vec(any::<u8>(), 0..200_000),
            cut in 1_usize..5000,
        ) {
            let mut bytes = Vec::new();
            encode_message(&"hello", &mut bytes).unwrap();
            encode_data(Stream::Stdout, &data, &mut bytes);
            let mut decoder = Decoder::new(REPLY_LIMIT);
            let (mut out, mut messages) = (Vec::new(), 0);
            for piece in bytes.chunks(cut) {
                decoder.feed(piece);
                while let Some(frame) = decoder.next().unwrap() {
                    match frame.stream {
                        Stream::Control => messages += 1,
                        stream => {
                            prop_assert_eq!(stream, Stream::Stdout);
                            out.extend(frame.payload);
                        }
                    }
                }
            }
            prop_assert_eq!(messages, 1);
            prop_assert_eq!(out, data);
        }

        #[test]
        fn no_bytes_break_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
            let mut decoder = Decoder::new(REPLY_LIMIT);
            decoder.feed(&bytes);
            while let Ok(Some(_)) = decoder.next() {}
        }
    }

    #[test]
    fn refuses_by_the_header() {
        let mut decoder = Decoder::new(16);
        decoder.feed(&[0, 17, 0, 0, 0]);
        assert_eq!(decoder.next(), Err(Error::Length { length: 17, limit: 16 }));
        let mut decoder = Decoder::new(16);
        decoder.feed(&[9, 0, 0, 0, 0]);
        assert_eq!(decoder.next(), Err(Error::Stream(9)));
    }
}
