//! Where everything goes in guest-physical memory and how the guest is entered: decided, and every
//! conflict found, before there is a VM.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use linux_loader::bootparam::setup_header;
use nix::sys::memfd::{MFdFlags, memfd_create};
use thiserror::Error;

use super::bzimage::{self, BzImage};
use super::kernel::{Format, Kernel};
use crate::vm::layout::{self, CMDLINE, HIGH_RAM, PAGE, Range};
use crate::workload::{Cmdline, MemorySize};

/// Linux's COMMAND_LINE_SIZE on x86, less the NUL: the longest line that an ELF kernel takes.
const ELF_CMDLINE_MAX: usize = 2047;

/// How the guest's first instruction is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// 16-bit real mode at 0000:IP, as a boot sector starts: lesson guests.
    Real(u16),
    /// 32-bit protected mode at this address (Xen's PVH ABI).
    Pvh(u32),
    /// Long mode at this address with the zero page in RSI (64-bit Linux boot protocol).
    Linux64(u64),
}

/// Bytes of the kernel file that go to guest-physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where they go.
    pub gpa: u64,
    /// Where they start in the file.
    pub offset: u64,
    /// How many there are.
    pub size: u64,
}

/// The initial RAM disk, opened and placed.
pub struct Initrd {
    /// Its bytes: the file itself, or a copy of what a pipe held.
    pub file: File,
    /// Where it goes: page-aligned, as high as the kernel allows.
    pub gpa: Range,
}

/// What to put where, and how to start.
pub struct Plan {
    /// The kernel's bytes.
    pub kernel: File,
    /// Which of them go where, by ascending address.
    pub pieces: Vec<Piece>,
    /// The first instruction.
    pub entry: Entry,
    /// A bzImage's setup header, which the zero page must repeat.
    pub setup_header: Option<setup_header>,
    /// The initial RAM disk.
    pub initrd: Option<Initrd>,
    /// The command line.
    pub cmdline: Cmdline,
    /// How much memory the guest has.
    pub memory: MemorySize,
}

/// Why kernel, initrd, command line and memory do not go together.
#[derive(Debug, Error)]
pub enum Error {
    /// A segment where there is no RAM.
    #[error(
        "the kernel's segment at {start:#x}–{end:#x} lies outside of the guest's memory of \
         {memory} (no RAM from 3 to 4 GiB): give it more with --memory, or check how it was linked"
    )]
    SegmentOutside {
        /// First address.
        start: u64,
        /// Address behind the last.
        end: u64,
        /// The guest's memory.
        memory: MemorySize,
    },
    /// A bzImage that finds no room.
    #[error("the kernel: {0}")]
    BzImage(#[from] bzimage::Error),
    /// The initrd cannot be opened or read.
    #[error("it cannot be read: {0}")]
    InitrdRead(#[source] io::Error),
    /// A directory.
    #[error("it is a directory: give a file (a cpio archive, compressed or not)")]
    InitrdDirectory,
    /// Not one byte in it.
    #[error("it is empty")]
    InitrdEmpty,
    /// No gap between kernel and limit.
    #[error(
        "its {size} bytes do not fit into the guest's memory of {memory} beside the \
         kernel: give more with --memory"
    )]
    InitrdTooLarge {
        /// Bytes in the initrd (for a pipe: read so far).
        size: u64,
        /// The guest's memory.
        memory: MemorySize,
    },
    /// Longer than the kernel takes.
    #[error("the kernel command line has {length} bytes; this kernel takes at most {limit}")]
    CmdlineTooLong {
        /// Its length without the NUL.
        length: usize,
        /// The longest that this kernel takes.
        limit: usize,
    },
}

impl Error {
    /// Whether the initrd, rather than the kernel, is to blame.
    pub fn is_about_initrd(&self) -> bool {
        matches!(
            self,
            Error::InitrdRead(_)
                | Error::InitrdDirectory
                | Error::InitrdEmpty
                | Error::InitrdTooLarge { .. }
        )
    }
}

impl Plan {
    /// Decides where kernel, initrd and command line go in a guest with `memory`.
    ///
    /// # Errors
    /// Whatever does not fit or does not go together.
    pub fn new(
        kernel: Kernel,
        initrd: Option<&Path>,
        cmdline: Cmdline,
        memory: MemorySize,
    ) -> Result<Plan, Error> {
        let ram = layout::ram(memory.bytes());
        let Kernel { file, format } = kernel;
        let (pieces, entry, taken, setup_header) = match format {
            Format::Elf(image) => {
                let entry = image.pvh_entry.map_or(Entry::Linux64(image.entry), Entry::Pvh);
                let taken: Vec<Range> = image.segments.iter().map(|segment| segment.gpa).collect();
                check_in_ram(&taken, &ram, memory)?;
                let pieces = image.segments.iter().map(|segment| Piece {
                    gpa: segment.gpa.start,
                    offset: segment.offset,
                    size: segment.filesz,
                });
                (pieces.collect(), entry, taken, None)
            }
            Format::BzImage(image) => {
                let BzImage { header, code_offset, code_size } = *image;
                let place = image.place(&ram)?;
                let piece = Piece { gpa: place.start, offset: code_offset, size: code_size };
                let entry = Entry::Linux64(BzImage::entry(place.start));
                (vec![piece], entry, vec![place], Some(header))
            }
        };
        check_cmdline(&cmdline, setup_header.as_ref())?;
        let limit = match &setup_header {
            Some(header) => u64::from(header.initrd_addr_max) + 1,
            None => layout::MMIO_HOLE.start,
        };
        let initrd =
            initrd.map(|path| Initrd::open(path, &taken, &ram, limit, memory)).transpose()?;
        Ok(Plan { kernel: file, pieces, entry, setup_header, initrd, cmdline, memory })
    }
}

fn check_in_ram(segments: &[Range], ram: &[Range], memory: MemorySize) -> Result<(), Error> {
    match segments.iter().find(|segment| !ram.iter().any(|ram| ram.contains(**segment))) {
        Some(&Range { start, end }) => Err(Error::SegmentOutside { start, end, memory }),
        None => Ok(()),
    }
}

fn check_cmdline(cmdline: &Cmdline, header: Option<&setup_header>) -> Result<(), Error> {
    let room = usize::try_from(CMDLINE.size()).unwrap_or(usize::MAX);
    let kernel_takes = match header {
        Some(header) => usize::try_from(header.cmdline_size).unwrap_or(usize::MAX),
        None => ELF_CMDLINE_MAX,
    };
    let limit = kernel_takes.min(room - 1);
    let length = cmdline.as_bytes_with_nul().len() - 1;
    if length > limit { Err(Error::CmdlineTooLong { length, limit }) } else { Ok(()) }
}

impl Initrd {
    /// Opens the initrd and places it as high as possible below `limit` and 4 GiB, clear of `taken`.
    fn open(
        path: &Path,
        taken: &[Range],
        ram: &[Range],
        limit: u64,
        memory: MemorySize,
    ) -> Result<Initrd, Error> {
        let file = File::open(path).map_err(Error::InitrdRead)?;
        let kind = file.metadata().map_err(Error::InitrdRead)?;
        if kind.is_dir() {
            return Err(Error::InitrdDirectory);
        }
        let (file, size) = if kind.is_file() { (file, kind.len()) } else { buffer(file, memory)? };
        if size == 0 {
            return Err(Error::InitrdEmpty);
        }
        let low = ram.first().map_or(0, |low| low.end);
        let gpa = highest_gap(size, low.min(limit), taken)
            .ok_or(Error::InitrdTooLarge { size, memory })?;
        Ok(Initrd { file, gpa })
    }
}

/// Reads a pipe or device to its end, into an anonymous file of at most the guest's memory.
fn buffer(source: File, memory: MemorySize) -> Result<(File, u64), Error> {
    let file = memfd_create("duplex-initrd", MFdFlags::MFD_CLOEXEC)
        .map_err(|errno| Error::InitrdRead(errno.into()))?;
    let mut file = File::from(file);
    let limit = memory.bytes();
    let size = io::copy(&mut source.take(limit + 1), &mut file).map_err(Error::InitrdRead)?;
    file.flush().map_err(Error::InitrdRead)?;
    if size > limit { Err(Error::InitrdTooLarge { size, memory }) } else { Ok((file, size)) }
}

/// The highest page-aligned gap of `size` bytes between 1 MiB and `limit`, clear of `taken`, which
/// is sorted.
fn highest_gap(size: u64, limit: u64, taken: &[Range]) -> Option<Range> {
    let mut ceiling = limit;
    for taken in taken
        .iter()
        .rev()
        .filter(|range| range.start < limit)
        .chain(&[Range { start: HIGH_RAM, end: HIGH_RAM }])
    {
        let start = ceiling.checked_sub(size).map(|start| start / PAGE * PAGE);
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
                prop_assert!(gap.start >= HIGH_RAM && gap.end <= limit);
                prop_assert!(gap.start % PAGE == 0 && gap.size() == size);
                prop_assert!(!gap.overlaps(taken[0]));
            }
        }
    }
}
