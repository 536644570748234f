//! Where everything goes in guest-physical memory and how the guest is entered: decided, and every
//! conflict found, before there is a VM.

use std::fs::File;
use std::path::{Path, PathBuf};

use linux_loader::bootparam::setup_header;
use thiserror::Error;

use super::bzimage::{self, BzImage};
use super::initrd::{self, Initrd};
use super::kernel::{Format, Kernel};
use crate::vm::layout::{self, CMDLINE, FIRST_MAPPED, Range, VirtioSlot};
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
    /// What the kernel is going to write to: an ELF's writable segments.
    pub written: Vec<Range>,
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
    /// More devices than the machine has places for.
    #[error(
        "{0} disks and other virtio devices are more than a machine has interrupts for: give at \
         most {most}", most = layout::VIRTIO_SLOTS
    )]
    TooManyDevices(usize),
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
    /// Decides where kernel, initrd and command line go in a guest with `memory` and so many virtio
    /// devices, which the command line announces.
    ///
    /// # Errors
    /// Whatever does not fit or does not go together.
    pub fn new(
        kernel: Kernel,
        initrd: Option<&Path>,
        cmdline: Cmdline,
        memory: MemorySize,
        virtio: usize,
    ) -> Result<Plan, Error> {
        let cmdline = announce(&cmdline, virtio)?;
        let ram = layout::ram(memory.bytes());
        let Kernel { file, format } = kernel;
        let (pieces, written, entry, taken, setup_header) = match format {
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
                let written = image.segments.iter().filter(|segment| segment.writable);
                let written = written.map(|segment| segment.gpa).collect();
                (pieces.collect(), written, entry, taken, None)
            }
            Format::BzImage(image) => {
                let BzImage { header, code_offset, code_size } = *image;
                let place = image.place(&ram).map_err(Misfit::from)?;
                let piece = Piece { gpa: place.start, offset: code_offset, size: code_size };
                let entry = Entry::Linux64(BzImage::entry(place.start));
                (vec![piece], Vec::new(), entry, vec![place], Some(header))
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
        Ok(Plan { kernel: file, pieces, written, entry, setup_header, initrd, cmdline, memory })
    }

    /// Where pages of kernel and initrd may be mapped from their files.
    pub fn mapped(&self) -> Vec<Range> {
        let pieces = self.pieces.iter().filter_map(|piece| Range::sized(piece.gpa, piece.size));
        pieces.chain(self.initrd.as_ref().map(|initrd| initrd.gpa)).collect()
    }
}

/// Adds the words by which Linux finds virtio devices without ACPI (its option
/// VIRTIO_MMIO_CMDLINE_DEVICES). Kernels without that option overlook them.
fn announce(cmdline: &Cmdline, virtio: usize) -> Result<Cmdline, Error> {
    if virtio > layout::VIRTIO_SLOTS {
        return Err(Error::TooManyDevices(virtio));
    }
    let words = layout::virtio_slots().take(virtio).map(|VirtioSlot { gpa, gsi }| {
        format!("virtio_mmio.device={}K@{:#x}:{gsi}", gpa.size() / layout::KIB, gpa.start)
    });
    Ok(cmdline.with_words(&words.collect::<Vec<_>>().join(" ")))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{self, Elf, ProgramHeader};
    use crate::vm::layout::{GIB, MIB};
    use std::io::Write;

    fn planned(kernel: &[u8], memory: &str, cmdline: &str) -> Result<Plan, Error> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(kernel).unwrap();
        let kernel = Kernel::from_file(file).map_err(|error| error.to_string()).unwrap();
        Plan::new(kernel, None, cmdline.parse().unwrap(), memory.parse().unwrap(), 0)
    }

    fn elf_at(start: u64) -> Vec<u8> {
        let elf = Elf::kernel(vec![0xF4; 0x1000]);
        Elf { entry: start, ..elf.segments(&[ProgramHeader::load(start, 0x1000)]) }.build()
    }

    #[test]
    fn a_kernel_must_lie_where_the_guest_has_memory() {
        let misfit = |start, memory| match planned(&elf_at(start), memory, "") {
            Err(Error::Kernel(misfit)) => Some(misfit),
            _ => None,
        };
        assert!(misfit(MIB, "32M").is_none());
        assert!(misfit(32 * MIB - 0x1000, "32M").is_none());
        assert!(matches!(misfit(32 * MIB, "32M"), Some(Misfit::SegmentOutside { .. })));
        assert!(matches!(misfit(3 * GIB, "5G"), Some(Misfit::SegmentInHole(_))));
        assert!(matches!(misfit(4 * GIB, "5G"), Some(Misfit::EntryTooHigh(_))));
    }

    #[test]
    fn a_pvh_note_decides_how_an_elf_is_entered() {
        let start = samples::elf::START;
        let entry = |kernel: Elf| planned(&kernel.build(), "64M", "").map(|plan| plan.entry);
        assert_eq!(entry(Elf::kernel(vec![0xF4])).unwrap(), Entry::Linux64(start));
        let pvh = entry(Elf::pvh(vec![0xF4])).unwrap();
        assert_eq!(pvh, Entry::Pvh(u32::try_from(start).unwrap()));
    }

    #[test]
    fn devices_are_announced_up_to_the_last_place() {
        let announced = |virtio| announce(&"quiet -- sh".parse().unwrap(), virtio);
        assert_eq!(announced(0).unwrap().as_os_str(), "quiet -- sh");
        let expected = "quiet virtio_mmio.device=4K@0xd0000000:16 -- sh";
        assert_eq!(announced(1).unwrap().as_os_str(), expected);
        assert!(announced(layout::VIRTIO_SLOTS).is_ok());
        assert!(matches!(announced(17), Err(Error::TooManyDevices(17))));
    }

    #[test]
    fn the_kernel_says_how_long_its_command_line_may_be() {
        let line = "x".repeat(100);
        let bzimage = |cmdline_size| {
            let body = vec![0xF4; 0x1000];
            samples::BzImage { cmdline_size, ..samples::BzImage::kernel(body) }.build()
        };
        assert!(planned(&bzimage(100), "64M", &line).is_ok());
        let refused = planned(&bzimage(99), "64M", &line);
        assert!(matches!(refused, Err(Error::CmdlineTooLong { length: 100, limit: 99 })));
        // However long the kernel says: there is room for 64 KiB with the NUL.
        let long = "x".repeat(64 << 10);
        assert!(planned(&bzimage(u32::MAX), "64M", &long[1..]).is_ok());
        assert!(planned(&bzimage(u32::MAX), "64M", &long).is_err());
        let mib = "x".repeat(1 << 20);
        assert!(matches!(
            planned(&elf_at(MIB), "64M", &mib),
            Err(Error::CmdlineTooLong { length: 0x10_0000, limit: ELF_CMDLINE_MAX })
        ));
    }
}
