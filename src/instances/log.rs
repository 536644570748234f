//! What a detached instance has written: its output and errors, in the order in which they came, with the
//! time. A log takes so much room at most; then the oldest half goes.
//!
//! ```text
//! log        the newer part     a record each: time     8 bytes, nanoseconds since 1970
//! log.old    the older part                    output   1 byte, 1 or 2 as the descriptor's number
//!                                              length   4 bytes
//!                                              …        so many bytes
//! ```
//!
//! Numbers are little-endian. A record is written at once, so that a killed writer leaves at most one that
//! is cut short, at the end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::session::protocol::Output;
use crate::state::open_regular;

pub(super) const LOG: &str = "log";
pub(super) const OLD: &str = "log.old";

/// How long each of the two parts becomes, in bytes.
const PART: u64 = 4 << 20;
const HEADER: usize = 13;
/// More than is ever written at once.
const LONGEST: usize = 1 << 20;

/// A log that is written.
#[derive(Debug)]
pub(crate) struct Log {
    directory: PathBuf,
    file: File,
    length: u64,
}

impl Log {
    pub(super) fn create(directory: &Path) -> io::Result<Log> {
        Ok(Log { directory: directory.to_owned(), file: new(directory)?, length: 0 })
    }

    /// Adds a record.
    ///
    /// # Errors
    /// The file system's: the record is not there then.
    pub(crate) fn add(&mut self, output: Output, data: &[u8]) -> io::Result<()> {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        for data in data.chunks(LONGEST) {
            let mut bytes = Vec::with_capacity(HEADER + data.len());
            bytes.extend(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).to_le_bytes());
            bytes.push(number(output));
            bytes.extend(u32::try_from(data.len()).unwrap_or(u32::MAX).to_le_bytes());
            bytes.extend(data);
            if self.length >= PART {
                fs::rename(self.directory.join(LOG), self.directory.join(OLD))?;
                self.file = new(&self.directory)?;
                self.length = 0;
            }
            if let Err(error) = self.file.write_all(&bytes) {
                // A part of a record would make the next one unreadable.
                self.file.set_len(self.length)?;
                return Err(error);
            }
            self.length += bytes.len() as u64;
        }
        Ok(())
    }
}

fn new(directory: &Path) -> io::Result<File> {
    open_regular(&directory.join(LOG), OpenOptions::new().append(true).create(true))
}

fn number(output: Output) -> u8 {
    match output {
        Output::Stdout => 1,
        Output::Stderr => 2,
    }
}

/// A piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// When it came, since 1970.
    pub(crate) time: Duration,
    /// Which it was.
    pub(crate) output: Output,
    /// What was written.
    pub(crate) data: Vec<u8>,
}

/// A log that is read, also while it is written.
#[derive(Debug)]
pub(crate) struct LogReader {
    directory: PathBuf,
    /// The parts that are open, the older one first.
    parts: Vec<File>,
    /// Read and not yet returned.
    pending: Vec<u8>,
}

impl LogReader {
    /// Opens the log in this directory, if there is one.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn open(directory: &Path) -> io::Result<Option<LogReader>> {
        let Some(newer) = opened(&directory.join(LOG))? else { return Ok(None) };
        // It may have become the older part meanwhile; then it is read as the newer one all the same.
        let older = opened(&directory.join(OLD))?;
        let mut parts = Vec::new();
        if let Some(older) = older
            && older.metadata()?.ino() != newer.metadata()?.ino()
        {
            parts.push(older);
        }
        parts.push(newer);
        Ok(Some(LogReader { directory: directory.to_owned(), parts, pending: Vec::new() }))
    }

    /// The next record; none when all that is there has been read.
    ///
    /// # Errors
    /// The file system's, and a file that is no log.
    pub(crate) fn read(&mut self) -> io::Result<Option<Record>> {
        loop {
            if let Some(record) = self.pending_record()? {
                return Ok(Some(record));
            }
            let Some(part) = self.parts.first_mut() else { return Ok(None) };
            let mut buffer = [0; 64 << 10];
            match part.read(&mut buffer)? {
                0 if !self.go_on()? => return Ok(None),
                count => self.pending.extend(buffer.iter().take(count)),
            }
        }
    }

    /// Goes on with the next part, if there is one.
    fn go_on(&mut self) -> io::Result<bool> {
        if self.parts.len() == 1 {
            let Some(part) = self.parts.first() else { return Ok(false) };
            match opened(&self.directory.join(LOG))? {
                Some(newer) if newer.metadata()?.ino() != part.metadata()?.ino() => {
                    // Something may have been added before that one began.
                    let mut rest = Vec::new();
                    let mut part = part;
                    part.read_to_end(&mut rest)?;
                    self.pending.extend(rest);
                    self.parts.push(newer);
                }
                _ => return Ok(false),
            }
        }
        self.parts.remove(0);
        Ok(true)
    }

    fn pending_record(&mut self) -> io::Result<Option<Record>> {
        let Some((header, rest)) = self.pending.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let [t0, t1, t2, t3, t4, t5, t6, t7, output, l0, l1, l2, l3] = *header;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let output = match output {
            1 => Output::Stdout,
            2 => Output::Stderr,
            _ => return Err(damaged()),
        };
        if length > LONGEST {
            return Err(damaged());
        }
        let Some(data) = rest.get(..length) else { return Ok(None) };
        let nanoseconds = u64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]);
        let time = Duration::from_nanos(nanoseconds);
        let record = Record { time, output, data: data.to_vec() };
        self.pending.drain(..HEADER + length);
        Ok(Some(record))
    }
}

fn damaged() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "the log is damaged: remove it with duplex rm")
}

fn opened(path: &Path) -> io::Result<Option<File>> {
    match open_regular(path, OpenOptions::new().read(true)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error().is_none() => Err(damaged()),
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(reader: &mut LogReader) -> Vec<(Output, Vec<u8>)> {
        std::iter::from_fn(|| reader.read().unwrap()).map(|r| (r.output, r.data)).collect()
    }

    #[test]
    fn what_is_written_is_read_also_later() {
        let place = tempfile::tempdir().unwrap();
        assert!(LogReader::open(place.path()).unwrap().is_none());
        let mut log = Log::create(place.path()).unwrap();
        log.add(Output::Stdout, b"one\n").unwrap();
        let mut reader = LogReader::open(place.path()).unwrap().unwrap();
        assert_eq!(all(&mut reader), [(Output::Stdout, b"one\n".to_vec())]);
        log.add(Output::Stderr, b"\0\xff").unwrap();
        assert_eq!(all(&mut reader), [(Output::Stderr, b"\0\xff".to_vec())]);
    }

    #[test]
    fn it_stays_small_and_a_reader_that_keeps_up_misses_nothing() {
        let place = tempfile::tempdir().unwrap();
        let mut log = Log::create(place.path()).unwrap();
        let mut reader = LogReader::open(place.path()).unwrap().unwrap();
        let data = vec![7; 100_000];
        for _ in 0..200 {
            log.add(Output::Stdout, &data).unwrap();
            assert_eq!(all(&mut reader), [(Output::Stdout, data.clone())]);
        }
        let size = |name: &str| fs::metadata(place.path().join(name)).unwrap().len();
        assert!(size(LOG) + size(OLD) < 2 * PART + 200_000);
        let kept = all(&mut LogReader::open(place.path()).unwrap().unwrap()).len();
        assert!((40..=84).contains(&kept), "{kept}");
    }

    #[test]
    fn a_record_that_is_cut_short_is_left_out_and_nonsense_is_an_error() {
        let place = tempfile::tempdir().unwrap();
        let mut log = Log::create(place.path()).unwrap();
        log.add(Output::Stdout, b"whole").unwrap();
        log.add(Output::Stdout, b"cut").unwrap();
        log.file.set_len(log.length - 1).unwrap();
        let mut reader = LogReader::open(place.path()).unwrap().unwrap();
        assert_eq!(all(&mut reader), [(Output::Stdout, b"whole".to_vec())]);
        for nonsense in [[9; HEADER], [1; HEADER]] {
            fs::write(place.path().join(LOG), nonsense).unwrap();
            let mut reader = LogReader::open(place.path()).unwrap().unwrap();
            assert_eq!(reader.read().unwrap_err().kind(), ErrorKind::InvalidData);
        }
    }
}
