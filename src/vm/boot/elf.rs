//! ELF kernels (System V gABI, chapters 4 and 5): which bytes go where, and how to enter.

use linux_loader::elf::{
    ELFCLASS64, ELFDATA2LSB, Elf64_Ehdr, Elf64_Nhdr, Elf64_Phdr, PT_INTERP, PT_LOAD, PT_NOTE,
};
use std::io;
use thiserror::Error;

use super::source::ReadAt;
use crate::vm::layout::{HIGH_RAM, Range};

/// More program headers than any kernel has: a bound on the work for one file.
const MAX_PROGRAM_HEADERS: u16 = 128;
/// A bound on one note segment, in bytes; Linux's is a few hundred.
const MAX_NOTES: u64 = 64 << 10;
const ET_REL: u16 = 1;
const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const EM_X86_64: u16 = 62;
const PT_DYNAMIC: u32 = 2;
const PT_TLS: u32 = 7;
const PF_W: u32 = 2;
/// XEN_ELFNOTE_PHYS32_ENTRY (xen/include/public/elfnote.h): the 32-bit entry point of the PVH ABI.
const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;

/// Bytes of the file that belong at a guest-physical address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it lies in guest-physical memory, the zeroed rest behind the file's bytes included.
    pub gpa: Range,
    /// Where its bytes start in the file.
    pub offset: u64,
    /// How many bytes the file has for it.
    pub filesz: u64,
    /// Whether the kernel writes to it.
    pub writable: bool,
}

/// An ELF kernel, understood.
#[derive(Clone, Debug)]
pub struct ElfImage {
    /// What to load, by ascending address and free of overlap.
    pub segments: Vec<Segment>,
    /// `e_entry`, a guest-physical address inside a segment.
    pub entry: u64,
    /// The PVH entry, where the file has that note.
    pub pvh_entry: Option<u32>,
}

/// Why an ELF file cannot be booted.
#[derive(Debug, Error)]
pub enum Error {
    /// The file ended too soon or could not be read.
    #[error("its {0} cannot be read: {1}")]
    Read(&'static str, #[source] io::Error),
    /// ELFCLASS32.
    #[error("it is a 32-bit ELF; duplex boots 64-bit kernels")]
    Not64Bit,
    /// ELFDATA2MSB.
    #[error("it is a big-endian ELF; duplex boots x86-64 kernels")]
    BigEndian,
    /// Machine not x86-64.
    #[error(
        "it is an ELF for {} (e_machine {}); duplex boots x86-64 kernels", architecture(*.0), .0
    )]
    OtherArchitecture(u16),
    /// ET_REL: a kernel module or an intermediate file of a build.
    #[error(
        "it is an object file or kernel module, not a kernel: give the vmlinux that was linked"
    )]
    Object,
    /// A program or shared object for an operating system.
    #[error("it is an ordinary program ({0}), not a kernel")]
    Program(&'static str),
    /// Header fields that contradict the specification.
    #[error("its ELF header is malformed: {0}")]
    Header(&'static str),
    /// No PT_LOAD with any memory.
    #[error("it has no loadable segment")]
    NothingToLoad,
    /// p_filesz > p_memsz, or sums that wrap around.
    #[error("segment {0} has lying sizes (file {1:#x}, memory {2:#x} at {3:#x})")]
    SegmentSizes(usize, u64, u64, u64),
    /// The file ends before the segment does.
    #[error("segment {0} ends at byte {1} of the file, which has {2}: the file is cut off")]
    CutOff(usize, u64, u64),
    /// Below 1 MiB, where the boot data goes.
    #[error("segment {0} lies at {1:#x}, below 1 MiB, where boot data goes")]
    TooLow(usize, u64),
    /// Two segments want the same memory.
    #[error("the segments at {0:#x} and {1:#x} overlap")]
    Overlap(u64, u64),
    /// The entry point is not in any segment.
    #[error("its {0} entry point {1:#x} lies outside of every segment")]
    Entry(&'static str, u64),
    /// A PVH note without a usable address.
    #[error("its PVH note is malformed: {0}")]
    PvhNote(&'static str),
}

/// Reads and checks an ELF kernel's headers.
///
/// # Errors
/// Whatever makes the file unfit to be loaded; nothing of it is trusted.
pub fn parse(file: &impl ReadAt) -> Result<ElfImage, Error> {
    let header: Elf64_Ehdr = file.read_obj(0).map_err(|e| Error::Read("ELF header", e))?;
    check_header(&header)?;
    let mut segments = Vec::new();
    let mut notes = Vec::new();
    for (index, header) in program_headers(file, &header)?.into_iter().enumerate() {
        match header.p_type {
            PT_LOAD if header.p_memsz > 0 => segments.push(segment(file, index, &header)?),
            PT_NOTE => notes.push(header),
            PT_INTERP => return Err(Error::Program("it names a dynamic linker")),
            PT_DYNAMIC => return Err(Error::Program("it is dynamically linked")),
            PT_TLS => return Err(Error::Program("it has thread-local storage")),
            _ => {}
        }
    }
    if segments.is_empty() {
        return Err(Error::NothingToLoad);
    }
    segments.sort_by_key(|segment| segment.gpa.start);
    for pair in segments.windows(2) {
        if let [a, b] = pair
            && a.gpa.overlaps(b.gpa)
        {
            return Err(Error::Overlap(a.gpa.start, b.gpa.start));
        }
    }
    let inside = |address: u64| {
        segments.iter().any(|segment| (segment.gpa.start..segment.gpa.end).contains(&address))
    };
    let pvh_entry = pvh_entry(file, &notes)?;
    match pvh_entry {
        Some(entry) if !inside(entry.into()) => return Err(Error::Entry("PVH", entry.into())),
        None if !inside(header.e_entry) => return Err(Error::Entry("ELF", header.e_entry)),
        _ => {}
    }
    Ok(ElfImage { segments, entry: header.e_entry, pvh_entry })
}

fn check_header(header: &Elf64_Ehdr) -> Result<(), Error> {
    let [_, _, _, _, class, data, ..] = header.e_ident;
    if class != ELFCLASS64 {
        return Err(Error::Not64Bit);
    }
    if data != ELFDATA2LSB {
        return Err(Error::BigEndian);
    }
    if header.e_machine != EM_X86_64 {
        return Err(Error::OtherArchitecture(header.e_machine));
    }
    match header.e_type {
        ET_EXEC => {}
        ET_REL => return Err(Error::Object),
        ET_DYN => return Err(Error::Program("it is position-independent")),
        _ => return Err(Error::Program("its e_type is not ET_EXEC")),
    }
    if usize::from(header.e_phentsize) != size_of::<Elf64_Phdr>() {
        return Err(Error::Header("e_phentsize is not 56"));
    }
    if header.e_phnum > MAX_PROGRAM_HEADERS {
        return Err(Error::Header("it has more than 128 program headers"));
    }
    Ok(())
}

/// The architectures that Linux kernels are commonly found for (System V gABI, e_machine).
fn architecture(machine: u16) -> &'static str {
    match machine {
        40 => "32-bit Arm",
        183 => "arm64",
        243 => "RISC-V",
        258 => "LoongArch",
        _ => "another architecture",
    }
}

fn program_headers(file: &impl ReadAt, header: &Elf64_Ehdr) -> Result<Vec<Elf64_Phdr>, Error> {
    (0..u64::from(header.e_phnum))
        .map(|index| {
            let offset = header
                .e_phoff
                .checked_add(index * size_of::<Elf64_Phdr>() as u64)
                .ok_or(Error::Header("e_phoff wraps around"))?;
            file.read_obj(offset).map_err(|e| Error::Read("program headers", e))
        })
        .collect()
}

fn segment(file: &impl ReadAt, index: usize, header: &Elf64_Phdr) -> Result<Segment, Error> {
    let lying = Error::SegmentSizes(index, header.p_filesz, header.p_memsz, header.p_paddr);
    let Some(gpa) = Range::sized(header.p_paddr, header.p_memsz) else { return Err(lying) };
    let Some(file_end) = header.p_offset.checked_add(header.p_filesz) else { return Err(lying) };
    if header.p_filesz > header.p_memsz {
        return Err(lying);
    }
    let size = file.size().map_err(|e| Error::Read("size", e))?;
    if file_end > size {
        return Err(Error::CutOff(index, file_end, size));
    }
    if gpa.start < HIGH_RAM {
        return Err(Error::TooLow(index, gpa.start));
    }
    let writable = header.p_flags & PF_W != 0;
    Ok(Segment { gpa, offset: header.p_offset, filesz: header.p_filesz, writable })
}

/// Looks for Xen's PHYS32_ENTRY note in the PT_NOTE segments.
fn pvh_entry(file: &impl ReadAt, segments: &[Elf64_Phdr]) -> Result<Option<u32>, Error> {
    for segment in segments {
        if segment.p_filesz > MAX_NOTES {
            return Err(Error::Header("a note segment is larger than 64 KiB"));
        }
        let mut at = segment.p_offset;
        let end = at.checked_add(segment.p_filesz).ok_or(Error::Header("a note wraps around"))?;
        while at.saturating_add(size_of::<Elf64_Nhdr>() as u64) <= end {
            let note: Elf64_Nhdr = file.read_obj(at).map_err(|e| Error::Read("notes", e))?;
            let name_at = at + size_of::<Elf64_Nhdr>() as u64;
            // Both are at most 4 GiB: these sums cannot wrap, as `end` did not.
            let desc_at = name_at.saturating_add(padded(note.n_namesz));
            if note.n_type == XEN_ELFNOTE_PHYS32_ENTRY && note.n_namesz == 4 {
                let mut name = [0; 4];
                file.read_exact_at(&mut name, name_at).map_err(|e| Error::Read("notes", e))?;
                if &name == b"Xen\0" {
                    return read_entry(file, desc_at, note.n_descsz).map(Some);
                }
            }
            at = desc_at.saturating_add(padded(note.n_descsz));
        }
    }
    Ok(None)
}

/// Notes are padded to four bytes, on x86-64 too.
fn padded(size: u32) -> u64 {
    u64::from(size).next_multiple_of(4)
}

fn read_entry(file: &impl ReadAt, at: u64, size: u32) -> Result<u32, Error> {
    match size {
        4 => file.read_obj(at).map_err(|e| Error::Read("PVH note", e)),
        8 => {
            let entry: u64 = file.read_obj(at).map_err(|e| Error::Read("PVH note", e))?;
            u32::try_from(entry).map_err(|_| Error::PvhNote("its entry lies above 4 GiB"))
        }
        _ => Err(Error::PvhNote("its address has neither 4 nor 8 bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::elf::{PT_LOAD, START, note};
    use crate::samples::{Elf, ProgramHeader};
    use proptest::prelude::*;

    const BODY: [u8; 0x2000] = [0xF4; 0x2000];

    fn kernel() -> Elf {
        Elf::kernel(BODY.to_vec())
    }

    fn parsed(elf: &Elf) -> Result<ElfImage, Error> {
        parse(&elf.build().as_slice())
    }

    #[test]
    fn segments_are_sorted_and_those_without_memory_left_out() {
        let headers =
            [START + 0x2000, START, START + 0x1000].map(|at| ProgramHeader::load(at, 0x1000));
        let nothing = ProgramHeader::load(0, 0);
        let image = parsed(&kernel().segments(&[&headers[..], &[nothing]].concat())).unwrap();
        let starts: Vec<u64> = image.segments.iter().map(|segment| segment.gpa.start).collect();
        assert_eq!(starts, [START, START + 0x1000, START + 0x2000]);
    }

    #[test]
    fn memory_beyond_the_files_bytes_belongs_to_the_segment() {
        let header = ProgramHeader { memsz: 0x10_0000, ..ProgramHeader::load(START, 0x2000) };
        let segment = parsed(&kernel().segments(&[header])).unwrap().segments[0];
        assert_eq!((segment.filesz, segment.gpa.size()), (0x2000, 0x10_0000));
    }

    #[test]
    fn a_pvh_entry_has_4_or_8_bytes_and_may_follow_other_notes() {
        let entry = u32::try_from(START + 16).unwrap();
        let narrow = note(18, b"Xen\0", &entry.to_le_bytes());
        let wide = note(18, b"Xen\0", &u64::from(entry).to_le_bytes());
        let build_id = note(3, b"GNU\0", &[7; 20]);
        let others = note(18, b"Zen\0", &[0; 4]);
        for notes in [narrow.clone(), wide, [build_id, others, narrow].concat()] {
            let image = parsed(&kernel().with_notes(notes)).unwrap();
            assert_eq!(image.pvh_entry, Some(entry));
        }
        assert_eq!(parsed(&kernel()).unwrap().pvh_entry, None);
    }

    #[test]
    fn with_a_pvh_entry_the_elf_entry_may_be_virtual() {
        // As in every vmlinux: e_entry of a relocatable kernel may be of no use.
        let elf = Elf { entry: 0xFFFF_FFFF_8100_0000, ..Elf::pvh(BODY.to_vec()) };
        assert!(parsed(&elf).is_ok());
    }

    #[test]
    fn no_note_ends_the_search_early_or_never() {
        for size in [0, 1, 11, 12, 13] {
            assert!(parsed(&kernel().with_notes(vec![0; size])).is_ok(), "{size}");
        }
        assert!(parsed(&kernel().with_notes(vec![0xFF; 64])).is_ok());
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_sound(
            fields in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()), 0..4),
            entry in any::<u64>(),
            small in any::<bool>(),
        ) {
            // Half of the time near values that are right.
            let near = |value: u64, base: u64| if small { base + value % 0x4000 } else { value };
            let headers: Vec<_> = fields
                .iter()
                .map(|&(offset, paddr, filesz, memsz)| ProgramHeader {
                    kind: PT_LOAD,
                    offset: near(offset, 0),
                    paddr: near(paddr, START),
                    filesz: near(filesz, 0),
                    memsz: near(memsz, 0),
                })
                .collect();
            let file = Elf { entry: near(entry, START), ..kernel() }.segments(&headers).build();
            if let Ok(image) = parse(&file.as_slice()) {
                let at_entry = Range { start: image.entry, end: image.entry + 1 };
                let mut segments = image.segments.iter();
                prop_assert!(segments.any(|segment| segment.gpa.contains(at_entry)));
                for segment in &image.segments {
                    prop_assert!(segment.gpa.start >= HIGH_RAM);
                    prop_assert!(segment.filesz <= segment.gpa.size());
                    prop_assert!(segment.offset + segment.filesz <= file.len() as u64);
                }
                for pair in image.segments.windows(2) {
                    prop_assert!(pair[0].gpa.end <= pair[1].gpa.start);
                }
            }
        }
    }
}
