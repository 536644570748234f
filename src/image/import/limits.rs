//! Bounds on what a source may ask for: whatever it says, the host keeps its memory, disk and time.

use std::io::{self, Read};

use super::ImportError;

/// The longest path of an entry, and target of a link, in bytes: PATH_MAX of limits.h.
pub(super) const PATH: usize = 4096;
/// The longest name in a path: NAME_MAX of limits.h.
pub(super) const NAME: usize = 255;
/// How deep directories may lie in each other.
pub(super) const DEPTH: usize = 256;
/// The largest extended header, in bytes: the largest extended attribute has 64 KiB, as text and all
/// others included it stays far below.
pub(super) const EXTENDED_HEADER: u64 = 1 << 20;
/// The largest index, manifest or configuration, in bytes: what registries accept.
pub(super) const JSON: u64 = 4 << 20;
/// How many layers an image may have; docker makes 127 at most.
pub(super) const LAYERS: usize = 512;
/// How many manifests an index may list.
pub(super) const MANIFESTS: usize = 256;
/// How deep indexes may lie in each other.
pub(super) const INDEXES: usize = 4;
/// How many files an archive of an image may have.
pub(super) const MEMBERS: usize = 20_000;
/// How long the paths of all directories may be together, in bytes: they are kept in memory. A Debian
/// with a desktop has 3 MiB.
pub(super) const DIRECTORIES: usize = 256 << 20;
/// How many pieces the map of a sparse file may have: 16 MiB in memory.
pub(super) const EXTENTS: usize = 1 << 20;
/// Below this many bytes unpacked, no ratio is looked at.
const RATIO_FROM: u64 = 256 << 20;

/// The bounds that the caller may change.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many bytes all files may have together, holes included; a spooled archive too.
    pub size: u64,
    /// How many entries all layers may have together.
    pub entries: u64,
    /// How many times as large compressed data may become.
    pub ratio: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { size: 64 << 30, entries: 4_000_000, ratio: 300 }
    }
}

impl Limits {
    /// The error for too many bytes.
    pub(super) fn too_large(&self) -> ImportError {
        ImportError::Limit {
            what: "bytes unpacked",
            limit: self.size,
            remedy: "if that is what you expect of it, give a larger --max-size",
        }
    }
}

/// What has been used up, over all layers.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) limits: Limits,
    pub(super) size: u64,
    entries: u64,
}

impl Budget {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, size: 0, entries: 0 }
    }

    /// Takes the size of a file, before any of it is written.
    pub(super) fn take_size(&mut self, bytes: u64) -> Result<(), ImportError> {
        let size = self.size.checked_add(bytes).filter(|size| *size <= self.limits.size);
        self.size = size.ok_or_else(|| self.limits.too_large())?;
        Ok(())
    }

    /// Takes an entry.
    pub(super) fn take_entry(&mut self) -> Result<(), ImportError> {
        self.entries += 1;
        if self.entries <= self.limits.entries {
            return Ok(());
        }
        Err(ImportError::Limit {
            what: "entries",
            limit: self.limits.entries,
            remedy: "if that is what you expect of it, give a larger --max-entries",
        })
    }
}

/// What comes out of a decoder, with a bound on how much more that is than what went in.
pub(super) struct Bounded<'a, R> {
    unpacked: R,
    /// How many bytes went in; the counter of a [`Counting`].
    packed: &'a std::cell::Cell<u64>,
    limits: Limits,
    total: u64,
}

impl<'a, R: Read> Bounded<'a, R> {
    pub(super) fn new(unpacked: R, packed: &'a std::cell::Cell<u64>, limits: Limits) -> Self {
        Self { unpacked, packed, limits, total: 0 }
    }
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.unpacked.read(buffer)?;
        self.total += read as u64;
        if self.total > RATIO_FROM && self.total / self.limits.ratio.max(1) > self.packed.get() {
            let error = ImportError::Limit {
                what: "bytes for each byte of its compressed data",
                limit: self.limits.ratio,
                remedy: "if that is what you expect of it, give a larger --max-ratio",
            };
            return Err(error.into_io());
        }
        // Twice, for the headers of files that are all empty.
        if self.total > self.limits.size.saturating_mul(2).saturating_add(RATIO_FROM) {
            return Err(self.limits.too_large().into_io());
        }
        Ok(read)
    }
}

/// Counts what is read.
pub(super) struct Counting<'a, R> {
    inner: R,
    total: &'a std::cell::Cell<u64>,
}

impl<'a, R: Read> Counting<'a, R> {
    pub(super) fn new(inner: R, total: &'a std::cell::Cell<u64>) -> Self {
        Self { inner, total }
    }
}

impl<R: Read> Read for Counting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.total.set(self.total.get() + read as u64);
        Ok(read)
    }
}
