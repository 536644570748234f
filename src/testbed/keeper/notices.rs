//! What the agent says, a line at a time.

use std::fs::File;
use std::io::{self, ErrorKind, Read};

use crate::testbed::protocol::Notice;

/// The longest line that is accepted.
const LIMIT: usize = 64 << 10;

/// The agent's voice.
pub(super) struct Notices {
    file: File,
    line: Vec<u8>,
}

impl Notices {
    /// Reads from a non-blocking stream.
    pub(super) fn new(file: File) -> Self {
        Self { file, line: Vec::new() }
    }

    /// The stream, to wait for.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// What it has said since, or `None` when it will say no more.
    ///
    /// # Errors
    /// Also when it says what makes no sense.
    pub(super) fn read(&mut self) -> io::Result<Option<Vec<Notice>>> {
        let mut buffer = [0; 4096];
        match self.file.read(&mut buffer) {
            Ok(0) => return Ok(None),
            Ok(count) => self.line.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
            Err(error) => return Err(error),
        }
        let mut notices = Vec::new();
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            notices.push(serde_json::from_slice(&line)?);
        }
        if self.line.len() > LIMIT {
            return Err(io::Error::other("the agent talks without end"));
        }
        Ok(Some(notices))
    }
}
