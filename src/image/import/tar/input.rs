//! What archives are read from: something that can only be read, or a part of a file.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Where an archive's bytes come from.
pub(crate) trait Input: Read {
    /// Leaves bytes out.
    ///
    /// # Errors
    /// `UnexpectedEof` when there are not so many.
    fn skip(&mut self, bytes: u64) -> io::Result<()>;
}

/// A stream, of which everything has to be read.
pub(crate) struct Stream<R>(pub(crate) R);

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Input for Stream<R> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.0.by_ref().take(bytes), &mut io::sink())?;
        if skipped < bytes { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

/// A part of a file, read from its beginning; others may read the same file meanwhile.
#[derive(Clone)]
pub(crate) struct Section {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Section {
    /// The bytes from `at` on. A file that is shorter gives an early end.
    pub(crate) fn new(file: Arc<File>, at: u64, length: u64) -> Self {
        Self { file, at, end: at.saturating_add(length) }
    }
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(buffer.get_mut(..left).unwrap_or_default(), self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Input for Section {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let at = self.at.checked_add(bytes).filter(|at| *at <= self.end);
        self.at = at.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(())
    }
}
