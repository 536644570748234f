//! An output of a command, read without waiting.

use std::io::{self, Read};

/// One of its outputs, and what has come of it.
#[derive(Debug)]
pub(super) struct Stream<S> {
    /// `None` when it has ended.
    pub(super) open: Option<S>,
    pub(super) kept: Vec<u8>,
}

impl<S: Read> Stream<S> {
    /// Takes what has come, and keeps so many bytes of it: the first, or the last. Whether anything came.
    pub(super) fn read(&mut self, keep: usize, last: bool) -> bool {
        let mut buffer = [0; 16 << 10];
        let mut came = false;
        while let Some(stream) = &mut self.open {
            match stream.read(&mut buffer) {
                Ok(0) => self.open = None,
                Ok(count) => {
                    came = true;
                    self.kept.extend(buffer.iter().take(count));
                    match last {
                        true => drop(self.kept.drain(..self.kept.len().saturating_sub(keep))),
                        false => self.kept.truncate(keep),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.open = None,
            }
        }
        came
    }
}
