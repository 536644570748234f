//! Where everything goes in guest-physical memory and how the guest is entered: decided, and every
//! conflict found, before there is a VM.

use std::fs::File;
use std::path::{Path, PathBuf};

use linux_loader::bootparam::setup_header;
use thiserror::Error;

use super::bzimage::{self, BzImage};
use super::initrd::{self, Initrd};
use super::kernel::{Format, Kernel};
use crate::vm::layout::{self, CMDLINE, FIRST_MAPPED, Range};
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

/// Why a kernel has no place in the guest's memory. The caller names the kernel.
#[derive(Debug, Error)]
pub enum Misfit {
    /// A segment where no guest has RAM.
    #[error(
        "its segment at {:#x}–{:#x} lies between 3 and 4 GiB, where no guest has memory: check how \
         it was linked", .0.start, .0.end
    )]
    SegmentInHole(Range),
    /// A segment where there is no RAM.
    #[error(
        "its segment at {start:#x}–{end:#x} lies outside of the guest's memory of {memory}: give it \
         more with --memory, or check how it was linked"
    )]
    SegmentOutside {
        /// First address.
        start: u64,
        /// Address behind the last.
        end: u64,
        /// The guest's memory.
        memory: MemorySize,
    },
    /// An ELF without a PVH note, linked too high for its 64-bit entry.
    #[error(
        "its entry point {0:#x} lies above 4 GiB, where no boot protocol reaches: check how it was \
         linked"
    )]
    EntryTooHigh(u64),
    /// A bzImage that finds no room.
    #[error(transparent)]
    BzImage(#[from] bzimage::Error),
}

/// Why kernel, initrd, command line and memory do not go together.
#[derive(Debug, Error)]
pub enum Error {
    /// A kernel that has no place.
    #[error("the kernel does not fit: {0}")]
    Kernel(#[from] Misfit),
    /// An initrd that cannot be read or placed.
    #[error("initrd {}: {}", .0.display(), .1)]
    Initrd(PathBuf, #[source] initrd::Error),
    /// Longer than the kernel takes.
    #[error(
        "the kernel command line has {length} bytes and this kernel takes at most {limit}: shorten \
         --cmdline"
    )]
    CmdlineTooLong {
        /// Its length without the NUL.
        length: usize,
        /// The longest that this kernel takes.
        limit: usize,
    },
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
                if let Entry::Linux64(address @ FIRST_MAPPED..) = entry {
                    return Err(Misfit::EntryTooHigh(address).into());
                }
                let pieces = image.segments.iter().map(|segment| Piece {
                    gpa: segment.gpa.start,
                    offset: segment.offset,
                    size: segment.filesz,
                });
                (pieces.collect(), entry, taken, None)
            }
            Format::BzImage(image) => {
                let BzImage { header, code_offset, code_size } = *image;
                let place = image.place(&ram).map_err(Misfit::from)?;
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
        let initrd = initrd
            .map(|path| {
                Initrd::open(path, &taken, &ram, limit, memory)
                    .map_err(|error| Error::Initrd(path.to_owned(), error))
            })
            .transpose()?;
        Ok(Plan { kernel: file, pieces, entry, setup_header, initrd, cmdline, memory })
    }
}

fn check_in_ram(segments: &[Range], ram: &[Range], memory: MemorySize) -> Result<(), Misfit> {
    match segments.iter().find(|segment| !ram.iter().any(|ram| ram.contains(**segment))) {
        Some(&segment) if segment.overlaps(layout::MMIO_HOLE) => {
            Err(Misfit::SegmentInHole(segment))
        }
        Some(&Range { start, end }) => Err(Misfit::SegmentOutside { start, end, memory }),
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
