//! Bytes that wait until a descriptor takes them.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};

/// A queue in front of a writer that may take only a part, or nothing now.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: VecDeque<u8>,
}

impl Outbox {
    /// The fill at which a sender stops reading what it would have to queue.
    pub(crate) const FULL: usize = 256 << 10;

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= Self::FULL
    }

    /// Forgets what is left: nobody will take it any more.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Writes as much as `to` takes without waiting, in writes of at most `limit` bytes; with
    /// `once`, a single one. Returns how much that was.
    pub(crate) fn flush(
        &mut self,
        to: &mut impl Write,
        limit: usize,
        once: bool,
    ) -> io::Result<usize> {
        let mut taken = 0;
        while !self.bytes.is_empty() {
            let (front, _) = self.bytes.as_slices();
            match to.write(&front[..front.len().min(limit)]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.bytes.drain(..count);
                    taken += count;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            if once {
                break;
            }
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn keeps_what_is_not_taken() {
        let (mut reader, mut writer) = io::pipe().unwrap();
        super::super::poll::set_nonblocking(&writer).unwrap();
        let data: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let mut outbox = Outbox::default();
        outbox.push(&data);
        let mut seen = Vec::new();
        while !outbox.is_empty() {
            let taken = outbox.flush(&mut writer, 4096, false).unwrap();
            assert_eq!(outbox.len() + taken + seen.len(), data.len());
            let mut piece = vec![0; taken];
            reader.read_exact(&mut piece).unwrap();
            seen.extend(piece);
        }
        assert_eq!(seen, data);
        drop(reader);
        outbox.push(b"x");
        assert_eq!(outbox.flush(&mut writer, 1, true).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
