//! The initial RAM disk: opened, checked, and given a place that is clear of the kernel.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use thiserror::Error;

use super::source::{describe, open_at_once};
use crate::vm::layout::{HIGH_RAM, PAGE, Range};
use crate::workload::MemorySize;

/// The initial RAM disk, opened and placed.
pub struct Initrd {
    /// Its bytes: the file itself, or a copy of what a pipe held.
    pub file: File,
    /// Where it goes: page-aligned, as high as the kernel allows.
    pub gpa: Range,
}

/// Why an initrd cannot be used. The caller names the file.
#[derive(Debug, Error)]
pub enum Error {
    /// It cannot be opened or read.
    #[error("it cannot be read: {0}")]
    Read(#[source] io::Error),
    /// A directory or a device.
    #[error("it is {0}: give a file (a cpio archive, compressed or not)")]
    NotAFile(&'static str),
    /// Not one byte in it.
    #[error("it is empty")]
    Empty,
    /// A pipe that no process has open for writing, or that nothing was written to.
    #[error("it is a pipe that nothing is written to: start the writer first")]
    NoWriter,
    /// No gap between kernel and limit.
    #[error(
        "its {size} bytes do not fit into the guest's memory of {memory} beside the \
         kernel: give more with --memory"
    )]
    TooLarge {
        /// Bytes in the initrd (for a pipe: read so far).
        size: u64,
        /// The guest's memory.
        memory: MemorySize,
    },
}

impl Initrd {
    /// Opens the initrd and places it as high as possible below `limit` and 4 GiB, clear of `taken`.
    ///
    /// # Errors
    /// Not a file or pipe, not readable, empty, or too large.
    pub fn open(
        path: &Path,
        taken: &[Range],
        ram: &[Range],
        limit: u64,
        memory: MemorySize,
    ) -> Result<Initrd, Error> {
        let (file, metadata) = open_at_once(path).map_err(Error::Read)?;
        let kind = metadata.file_type();
        let (file, size) = if kind.is_file() {
            (file, metadata.len())
        } else if kind.is_fifo() {
            buffer(file, memory)?
        } else {
            return Err(Error::NotAFile(describe(kind)));
        };
        if size == 0 {
            return Err(Error::Empty);
        }
        let low = ram.first().map_or(0, |low| low.end);
        let gpa =
            highest_gap(size, low.min(limit), taken).ok_or(Error::TooLarge { size, memory })?;
        Ok(Initrd { file, gpa })
    }
}

/// Reads a pipe to its end, into an anonymous file of at most the guest's memory.
fn buffer(source: File, memory: MemorySize) -> Result<(File, u64), Error> {
    // It was opened without waiting for a writer; from here on the writer may take its time.
    fcntl(&source, FcntlArg::F_SETFL(OFlag::empty())).map_err(|errno| Error::Read(errno.into()))?;
    let file = memfd_create("duplex-initrd", MFdFlags::MFD_CLOEXEC)
        .map_err(|errno| Error::Read(errno.into()))?;
    let mut file = File::from(file);
    let limit = memory.bytes();
    let size = io::copy(&mut source.take(limit + 1), &mut file).map_err(Error::Read)?;
    file.flush().map_err(Error::Read)?;
    match size {
        0 => Err(Error::NoWriter),
        size if size > limit => Err(Error::TooLarge { size, memory }),
        size => Ok((file, size)),
    }
}

/// The highest page-aligned gap of `size` bytes between 1 MiB and `limit`, clear of `taken`, which
/// is sorted. The page that the last byte lies in is clear of it too: a mapping takes whole pages.
fn highest_gap(size: u64, limit: u64, taken: &[Range]) -> Option<Range> {
    let whole_pages = size.checked_next_multiple_of(PAGE)?;
    let mut ceiling = limit;
    for taken in taken
        .iter()
        .rev()
        .filter(|range| range.start < limit)
        .chain(&[Range { start: HIGH_RAM, end: HIGH_RAM }])
    {
        let start = (ceiling / PAGE * PAGE).checked_sub(whole_pages);
        if let Some(start) = start.filter(|start| *start >= taken.end) {
            return Some(Range { start, end: start + size });
        }
        ceiling = taken.start;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::layout::MIB;
    use proptest::prelude::*;

    fn range(start: u64, end: u64) -> Range {
        Range { start, end }
    }

    #[test]
    fn an_initrd_goes_to_the_top() {
        let kernel = [range(16 * MIB, 48 * MIB)];
        assert_eq!(highest_gap(MIB, 64 * MIB, &kernel), Some(range(63 * MIB, 64 * MIB)));
    }

    #[test]
    fn an_initrd_that_fits_only_below_the_kernel_goes_there() {
        let kernel = [range(16 * MIB, 48 * MIB)];
        assert_eq!(highest_gap(2 * MIB, 49 * MIB, &kernel), Some(range(14 * MIB, 16 * MIB)));
    }

    #[test]
    fn an_initrd_that_fits_nowhere_is_refused() {
        assert_eq!(highest_gap(64 * MIB, 64 * MIB, &[]), None);
        assert_eq!(highest_gap(u64::MAX, 64 * MIB, &[]), None);
    }

    proptest! {
        #[test]
        fn a_gap_overlaps_nothing(
            size in 1..64 * MIB,
            limit in MIB..128 * MIB,
            (start, length) in (MIB..96 * MIB, 1..32 * MIB),
        ) {
            let taken = [range(start, start + length)];
            if let Some(gap) = highest_gap(size, limit, &taken) {
                let pages = range(gap.start, gap.end.next_multiple_of(PAGE));
                prop_assert!(gap.start >= HIGH_RAM && pages.end <= limit);
                prop_assert!(gap.start % PAGE == 0 && gap.size() == size);
                prop_assert!(!pages.overlaps(taken[0]));
            }
        }
    }
}
