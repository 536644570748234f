//! Writing a trace.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;
use thiserror::Error;

use super::about::{About, Conclusion, Counters, DoneStep, Lane, ReachedPhase};
use super::{
    ABOUT, BLOCK, COUNTERS, DEVICES, END, EVENTS, HEADER, LANE, MAGIC, PHASES, STEPS, VERSION,
};
use crate::trace::devices::DeviceMap;
use crate::trace::event::{WORDS, Words};

/// Why there is no file for a trace.
#[derive(Debug, Error)]
pub enum Error {
    /// It cannot be opened or made.
    #[error("--trace {}: {}; give a file in a directory that you can write to", .0.display(), .1)]
    Open(PathBuf, #[source] io::Error),
    /// Something else is there.
    #[error(
        "--trace {}: it is there and is no trace, so it is not overwritten: give another name, or \
         remove it", .0.display()
    )]
    Other(PathBuf),
    /// Another process writes to it.
    #[error("--trace {}: another duplex is writing to it: give another name", .0.display())]
    InUse(PathBuf),
}

/// The file of a trace that is being made. Another process may have a copy of this one's descriptor: they
/// write one after the other.
#[derive(Debug)]
pub struct TraceFile(Flock<File>);

impl TraceFile {
    /// Makes a file, or begins one anew that has an earlier trace, or nothing, in it.
    ///
    /// # Errors
    /// It cannot be had; whatever else is there stays as it is.
    pub fn create(path: &Path) -> Result<TraceFile, Error> {
        let failed = |error| Error::Open(path.to_owned(), error);
        // Never waits, whatever is there: a pipe without a reader, too.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)
            .map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() || metadata.len() > 0 && !is_trace(&file) {
            return Err(Error::Other(path.to_owned()));
        }
        let file =
            Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(
                |(_, error)| match error {
                    Errno::EWOULDBLOCK => Error::InUse(path.to_owned()),
                    other => failed(other.into()),
                },
            )?;
        let begun = TraceFile(file);
        begun.begin().map_err(failed)?;
        Ok(begun)
    }

    /// The header, and nothing else.
    fn begin(&self) -> io::Result<()> {
        use std::io::Seek;
        let mut file = &*self.0;
        file.rewind()?;
        file.set_len(0)?;
        let mut header = MAGIC.to_vec();
        header.extend(VERSION.to_le_bytes());
        header.extend(u32::try_from(HEADER).unwrap_or(0).to_le_bytes());
        file.write_all(&header)
    }

    /// What the trace is of.
    ///
    /// # Errors
    /// It cannot be written; this holds for all that follow.
    pub fn about(&self, about: &About) -> io::Result<()> {
        self.json(ABOUT, about)
    }

    /// Who answers where, from now on.
    ///
    /// # Errors
    /// As above.
    pub fn devices(&self, devices: &DeviceMap) -> io::Result<()> {
        self.json(DEVICES, devices)
    }

    /// A lane, before its events.
    ///
    /// # Errors
    /// As above.
    pub fn lane(&self, lane: &Lane) -> io::Result<()> {
        self.json(LANE, lane)
    }

    /// When phases were reached.
    ///
    /// # Errors
    /// As above.
    pub fn phases(&self, phases: &[ReachedPhase]) -> io::Result<()> {
        self.json(PHASES, phases)
    }

    /// When steps were done.
    ///
    /// # Errors
    /// As above.
    pub fn steps(&self, steps: &[DoneStep]) -> io::Result<()> {
        self.json(STEPS, steps)
    }

    /// What KVM has counted for a vCPU.
    ///
    /// # Errors
    /// As above.
    pub fn counters(&self, counters: &Counters) -> io::Result<()> {
        self.json(COUNTERS, counters)
    }

    /// That nothing follows.
    ///
    /// # Errors
    /// As above.
    pub fn end(&self, conclusion: Conclusion) -> io::Result<()> {
        self.json(END, &conclusion)
    }

    /// The events that a batch has.
    ///
    /// # Errors
    /// As above.
    pub fn events(&self, batch: &mut Batch) -> io::Result<()> {
        let written = self.block(&mut batch.bytes, EVENTS);
        batch.bytes.clear();
        written
    }

    fn json(&self, kind: u32, value: &(impl Serialize + ?Sized)) -> io::Result<()> {
        let mut bytes = vec![0; BLOCK];
        serde_json::to_writer(&mut bytes, value)?;
        self.block(&mut bytes, kind)
    }

    /// Writes a block whose first bytes are room for its header; all of it or, where the disk is full, nothing: what
    /// comes behind a part could not be read.
    fn block(&self, bytes: &mut [u8], kind: u32) -> io::Result<()> {
        let length = u32::try_from(bytes.len().saturating_sub(BLOCK))
            .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        if let Some(header) = bytes.first_chunk_mut::<BLOCK>() {
            let [a, b, c, d] = kind.to_le_bytes();
            let [e, f, g, h] = length.to_le_bytes();
            *header = [a, b, c, d, e, f, g, h];
        }
        let mut file = &*self.0;
        let start = file.stream_position();
        let written = file.write_all(bytes);
        if let (Err(_), Ok(start)) = (&written, start) {
            let _ = file.set_len(start).and_then(|()| file.seek(SeekFrom::Start(start)));
        }
        written
    }
}

/// Whether a file begins as a trace does.
fn is_trace(mut file: &File) -> bool {
    let mut magic = [0; MAGIC.len()];
    file.read_exact(&mut magic).is_ok() && magic == MAGIC
}

/// Events of one lane on their way into a file.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
}

impl Batch {
    /// The most events of one.
    pub const MOST: usize = 8192;

    /// Begins a batch of a lane, of whose events so many were dropped so far.
    pub fn begin(&mut self, lane: u32, dropped: u64) {
        self.bytes.clear();
        self.bytes.resize(BLOCK, 0);
        self.bytes.extend(lane.to_le_bytes());
        let size = u32::try_from(WORDS * size_of::<u64>()).unwrap_or(0);
        self.bytes.extend(size.to_le_bytes());
        self.bytes.extend(dropped.to_le_bytes());
    }

    /// Adds an event.
    pub fn add(&mut self, words: Words) {
        for word in words {
            self.bytes.extend_from_slice(&word.to_le_bytes());
        }
    }

    /// How many it has.
    pub fn count(&self) -> usize {
        self.bytes.len().saturating_sub(BLOCK + super::EVENTS_HEADER) / (WORDS * size_of::<u64>())
    }
}
