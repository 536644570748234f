//! Reading a trace, whoever made it: a file may be cut off, damaged, or made to do harm. What is read is
//! bounded by a block, whatever the file says.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use serde::de::DeserializeOwned;
use thiserror::Error;

use super::about::{About, Conclusion, Counters, DoneStep, Lane, ReachedPhase, Source};
use super::{
    ABOUT, BLOCK, COUNTERS, DEVICES, END, EVENTS, EVENTS_HEADER, HEADER, LANE, MAGIC, MOST_BYTES,
    PHASES, STEPS, VERSION,
};
use crate::trace::devices::DeviceMap;
use crate::trace::event::{Event, WORDS};

/// The most lanes of a trace: 32 vCPUs and 16 devices with 16 queues are far less, also when a guest was
/// restarted again and again.
const MOST_LANES: usize = 1 << 16;

/// Why a file cannot be read as a trace.
#[derive(Debug, Error)]
pub enum Error {
    /// The system's.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It begins otherwise.
    #[error(
        "it is no trace: one is made by `duplex boot --trace FILE` or `duplex run --trace FILE`"
    )]
    NotATrace,
    /// A later version of duplex made it.
    #[error(
        "it has version {0}, and this duplex knows {VERSION}: read it with the one that made it"
    )]
    Version(u32),
    /// A block that no duplex writes.
    #[error("it is damaged: at byte {at}, {what}")]
    Damaged {
        /// Where the block begins.
        at: u64,
        /// What is wrong with it.
        what: String,
    },
}

/// A block of a trace.
#[derive(Debug)]
pub enum Block<'a> {
    /// What the trace is of.
    About(About),
    /// Who answers where, from now on.
    Devices(DeviceMap),
    /// A source of events.
    Lane(Lane),
    /// Events of a lane.
    Events(Events<'a>),
    /// When phases were reached.
    Phases(Vec<ReachedPhase>),
    /// When steps were done.
    Steps(Vec<DoneStep>),
    /// What KVM has counted.
    Counters(Counters),
    /// That nothing follows.
    End(Conclusion),
}

/// Events of a lane.
#[derive(Debug)]
pub struct Events<'a> {
    /// The lane's number.
    pub lane: u32,
    /// Where they come from.
    pub source: &'a Source,
    /// How many of the lane were dropped so far.
    pub dropped: u64,
    bytes: &'a [u8],
    size: usize,
}

impl Events<'_> {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.bytes.len() / self.size
    }

    /// Each of them; those of kinds that this version does not know are left out.
    pub fn iter(&self) -> impl Iterator<Item = Event> {
        self.bytes.chunks_exact(self.size).filter_map(|bytes| {
            let mut words = [0; WORDS];
            for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
                *word = u64::from_le_bytes(*bytes);
            }
            Event::from_words(&words)
        })
    }
}

/// A trace that is read block by block.
pub struct Reader<R> {
    from: R,
    /// Where the next block begins.
    at: u64,
    bytes: Vec<u8>,
    lanes: BTreeMap<u32, Source>,
    cut_off: bool,
    ended: bool,
}

impl Reader<BufReader<File>> {
    /// Opens a file.
    ///
    /// # Errors
    /// It is no trace, or of another version.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(Error::NotATrace);
        }
        Reader::new(BufReader::new(file))
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Begins to read.
    ///
    /// # Errors
    /// It is no trace, or of another version.
    pub fn new(mut from: R) -> Result<Self, Error> {
        let mut header = [0; HEADER];
        match from.read_exact(&mut header) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(Error::NotATrace);
            }
            other => other?,
        }
        let [magic @ .., v0, v1, v2, v3, _, _, _, _] = header;
        if magic != MAGIC {
            return Err(Error::NotATrace);
        }
        let version = u32::from_le_bytes([v0, v1, v2, v3]);
        if version != VERSION {
            return Err(Error::Version(version));
        }
        let (bytes, lanes) = (Vec::new(), BTreeMap::new());
        Ok(Reader { from, at: HEADER as u64, bytes, lanes, cut_off: false, ended: false })
    }

    /// From the beginning again.
    ///
    /// # Errors
    /// The system's.
    pub fn rewind(&mut self) -> Result<(), Error> {
        self.at = HEADER as u64;
        self.from.seek(SeekFrom::Start(self.at))?;
        (self.cut_off, self.ended) = (false, false);
        self.lanes.clear();
        Ok(())
    }

    /// How many bytes were read.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Whether the last block is not whole, or nothing says that the trace has ended: whoever made it was
    /// killed, or makes it still. Known at the end.
    pub fn is_cut_off(&self) -> bool {
        self.cut_off || !self.ended
    }

    /// The next block that this version knows. `None`: there is none now; where the file grows there may
    /// be one later.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn next_block(&mut self) -> Result<Option<Block<'_>>, Error> {
        loop {
            let Some((kind, at)) = self.read_block()? else { return Ok(None) };
            if matches!(kind, ABOUT | DEVICES | LANE | EVENTS | PHASES | STEPS | COUNTERS | END) {
                return self.block(kind, at).map(Some);
            }
        }
    }

    /// Reads a block as it is; returns its kind and where it began.
    fn read_block(&mut self) -> Result<Option<(u32, u64)>, Error> {
        let mut header = [0; BLOCK];
        if !self.read_whole(&mut header)? {
            return Ok(None);
        }
        let [k0, k1, k2, k3, l0, l1, l2, l3] = header;
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        let at = self.at;
        if size > MOST_BYTES {
            let what =
                format!("a block of {length} bytes: there is none of more than {MOST_BYTES}");
            return Err(Error::Damaged { at, what });
        }
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.resize(size, 0);
        let whole = self.read_whole(&mut bytes);
        self.bytes = bytes;
        if !whole? {
            return Ok(None);
        }
        self.at += u64::from(length) + BLOCK as u64;
        self.cut_off = false;
        Ok(Some((u32::from_le_bytes([k0, k1, k2, k3]), at)))
    }

    /// Fills `bytes`; where the file ends before, stands again where the block begins.
    fn read_whole(&mut self, bytes: &mut [u8]) -> Result<bool, Error> {
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.from.read(rest) {
                Ok(0) => {
                    self.cut_off = self.from.stream_position()? > self.at;
                    self.from.seek(SeekFrom::Start(self.at))?;
                    return Ok(false);
                }
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    fn block(&mut self, kind: u32, at: u64) -> Result<Block<'_>, Error> {
        let damaged = |what: &str| Error::Damaged { at, what: what.to_owned() };
        let bytes = &self.bytes;
        Ok(match kind {
            ABOUT => Block::About(json(bytes, at)?),
            DEVICES => {
                let devices: DeviceMap = json(bytes, at)?;
                if !devices.is_sound() {
                    return Err(damaged("devices that no machine has"));
                }
                Block::Devices(devices)
            }
            LANE => {
                let lane: Lane = json(bytes, at)?;
                if self.lanes.len() == MOST_LANES || self.lanes.contains_key(&lane.number) {
                    return Err(damaged("more sources of events than there can be"));
                }
                self.lanes.insert(lane.number, lane.source.clone());
                Block::Lane(lane)
            }
            EVENTS => Block::Events(events(bytes, &self.lanes).map_err(damaged)?),
            PHASES => Block::Phases(json(bytes, at)?),
            STEPS => Block::Steps(json(bytes, at)?),
            COUNTERS => Block::Counters(json(bytes, at)?),
            _ => {
                self.ended = true;
                Block::End(json(bytes, at)?)
            }
        })
    }
}

fn json<T: DeserializeOwned>(bytes: &[u8], at: u64) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Damaged {
        at,
        what: format!("a block is not what it says: {error}"),
    })
}

fn events<'a>(
    bytes: &'a [u8],
    lanes: &'a BTreeMap<u32, Source>,
) -> Result<Events<'a>, &'static str> {
    let (header, bytes) =
        bytes.split_first_chunk::<EVENTS_HEADER>().ok_or("a block of events without a header")?;
    let [l0, l1, l2, l3, s0, s1, s2, s3, dropped @ ..] = *header;
    let lane = u32::from_le_bytes([l0, l1, l2, l3]);
    let size = usize::try_from(u32::from_le_bytes([s0, s1, s2, s3])).unwrap_or(0);
    // A later duplex may add words to the end.
    if size < WORDS * size_of::<u64>() || !bytes.len().is_multiple_of(size) {
        return Err("a block of events that are not whole");
    }
    let source = lanes.get(&lane).ok_or("events of nobody who was named before")?;
    Ok(Events { lane, source, dropped: u64::from_le_bytes(dropped), bytes, size })
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
