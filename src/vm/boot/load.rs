//! Carries out a [`Plan`]: kernel and initrd into guest memory, mapped where alignment allows and
//! copied where it does not.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use vm_memory::{Bytes, GuestAddress, GuestMemoryError, GuestMemoryMmap};

use super::plan::{Piece, Plan};
use crate::vm::layout::{MIB, PAGE, Range};
use crate::vm::memory;

/// A bound on what is provided before the guest touches it, whatever the kernel's file claims.
const MOST_PROVIDED: u64 = 4 * MIB;

/// How the bytes of kernel and initrd came into guest memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// Bytes mapped from their file, read when the guest touches them.
    pub mapped: u64,
    /// Bytes copied.
    pub copied: u64,
}

/// Why the files could not be brought into guest memory.
#[derive(Debug, Error)]
pub enum Error {
    /// The file shrank since it was checked, or cannot be read.
    #[error("{0} cannot be read into guest memory: {1}; did it change just now?")]
    Copy(&'static str, #[source] GuestMemoryError),
    /// lseek(2).
    #[error("{0} cannot be read: {1}")]
    Seek(&'static str, #[source] io::Error),
    /// Memory that the plan placed wrongly.
    #[error(transparent)]
    Memory(#[from] memory::Error),
}

/// Brings kernel and initrd into guest memory.
///
/// # Errors
/// A file that changed since it was checked.
pub fn load(memory: &GuestMemoryMmap, plan: &Plan) -> Result<Loaded, Error> {
    let mut loaded = Loaded::default();
    for piece in &plan.pieces {
        load_piece(memory, &plan.kernel, piece, &mut loaded)?;
    }
    provide_written(memory, &plan.written);
    if let Some(initrd) = &plan.initrd {
        let (gpa, size) = (initrd.gpa.start, initrd.gpa.size());
        match memory::map_file(memory, gpa, &initrd.file, 0, size) {
            Ok(()) => loaded.mapped += size,
            // Some file systems cannot map, and nothing is mapped into memory that is shared.
            Err(memory::Error::Map(_)) => {
                let whole = Piece { gpa, offset: 0, size };
                copy(memory, "the initrd", &initrd.file, whole, &mut loaded)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(loaded)
}

/// Has the host provide the pages that the kernel is going to write to, data, variables and start-up
/// code, in one go. Otherwise each would cost the guest two page faults of the host: one as it reads
/// what is mapped from the file, and one as it writes and gets a page of its own.
fn provide_written(memory: &GuestMemoryMmap, written: &[Range]) {
    let mut left = MOST_PROVIDED;
    for range in written {
        let size = range.size().min(left);
        memory::provide(memory, Range { start: range.start, end: range.start + size });
        left -= size;
    }
}

/// Maps the whole pages of a piece and copies what remains at its ends; copies all of it where
/// file offset and address are not congruent modulo the page size.
fn load_piece(
    memory: &GuestMemoryMmap,
    file: &File,
    piece: &Piece,
    loaded: &mut Loaded,
) -> Result<(), Error> {
    let Piece { gpa, offset, size } = *piece;
    let head = (gpa.next_multiple_of(PAGE) - gpa).min(size);
    let pages = (size - head) / PAGE * PAGE;
    let mappable = gpa % PAGE == offset % PAGE && pages > 0;
    if !mappable || memory::map_file(memory, gpa + head, file, offset + head, pages).is_err() {
        return copy(memory, "the kernel", file, *piece, loaded);
    }
    loaded.mapped += pages;
    let done = head + pages;
    copy(memory, "the kernel", file, Piece { gpa, offset, size: head }, loaded)?;
    let tail = Piece { gpa: gpa + done, offset: offset + done, size: size - done };
    copy(memory, "the kernel", file, tail, loaded)
}

fn copy(
    memory: &GuestMemoryMmap,
    what: &'static str,
    mut file: &File,
    Piece { gpa, offset, size }: Piece,
    loaded: &mut Loaded,
) -> Result<(), Error> {
    if size == 0 {
        return Ok(());
    }
    file.seek(SeekFrom::Start(offset)).map_err(|error| Error::Seek(what, error))?;
    // A piece lies in guest memory, so its size fits.
    let length = usize::try_from(size).unwrap_or(usize::MAX);
    memory
        .read_exact_volatile_from(GuestAddress(gpa), &mut file, length)
        .map_err(|error| Error::Copy(what, error))?;
    loaded.copied += size;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::initrd::Initrd;
    use super::super::plan::Entry;
    use super::*;
    use crate::samples::noise;
    use std::io::Write;

    const START: u64 = 16 * MIB;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn plan(kernel: &[u8], pieces: &[Piece]) -> Plan {
        Plan {
            kernel: file(kernel),
            pieces: pieces.to_vec(),
            written: Vec::new(),
            entry: Entry::Linux64(START),
            setup_header: None,
            initrd: None,
            cmdline: "".parse().unwrap(),
            memory: "32M".parse().unwrap(),
        }
    }

    fn seen(memory: &GuestMemoryMmap, gpa: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        memory.read_slice(&mut bytes, GuestAddress(gpa)).unwrap();
        bytes
    }

    #[test]
    fn whole_pages_are_mapped_and_ends_copied_where_alignment_allows() {
        let bytes = noise(0x6000);
        // Address, offset, size; bytes mapped.
        let cases = [
            (START, 0, 0x3000, 0x3000),
            (START, 0x1000, 0x2800, 0x2000),
            (START + 0x800, 0x1800, 0x3000, 0x2000),
            (START + 0x800, 0x1000, 0x3000, 0),
            (START + 1, 1, 0x800, 0),
            (START + 0xFFF, 0xFFF, 2, 0),
            (START, 0, 0, 0),
        ];
        for (gpa, offset, size, mapped) in cases {
            let plan = plan(&bytes, &[Piece { gpa, offset, size }]);
            let memory = memory::allocate(plan.memory).unwrap();
            let loaded = load(&memory, &plan).unwrap();
            assert_eq!(loaded, Loaded { mapped, copied: size - mapped }, "{gpa:#x}");
            let expected =
                &bytes[usize::try_from(offset).unwrap()..][..usize::try_from(size).unwrap()];
            assert_eq!(seen(&memory, gpa, expected.len()), expected);
            // Nothing of the file shows on either side.
            assert_eq!(seen(&memory, gpa - 16, 16), [0; 16]);
            assert_eq!(seen(&memory, gpa + size, 16), [0; 16]);
        }
    }

    #[test]
    fn two_pieces_may_share_a_page() {
        let bytes = noise(0x4000);
        let first = Piece { gpa: START, offset: 0, size: 0x1800 };
        let second = Piece { gpa: START + 0x1800, offset: 0x1800, size: 0x1800 };
        let plan = plan(&bytes, &[first, second]);
        let memory = memory::allocate(plan.memory).unwrap();
        load(&memory, &plan).unwrap();
        assert_eq!(seen(&memory, START, 0x3000), &bytes[..0x3000]);
    }

    #[test]
    fn an_initrd_of_any_length_is_mapped() {
        let bytes = noise(0x1801);
        let gpa = Range { start: START, end: START + 0x1801 };
        let initrd = Some(Initrd { file: file(&bytes), gpa });
        let plan = Plan { initrd, ..plan(&[], &[]) };
        let memory = memory::allocate(plan.memory).unwrap();
        assert_eq!(load(&memory, &plan).unwrap(), Loaded { mapped: 0x1801, copied: 0 });
        assert_eq!(seen(&memory, START, bytes.len()), bytes);
    }

    #[test]
    fn all_is_copied_into_memory_that_is_shared() {
        let bytes = noise(0x3000);
        let gpa = Range { start: 2 * START, end: 2 * START + 0x1801 };
        let initrd = Some(Initrd { file: file(&bytes[..0x1801]), gpa });
        let pieces = [Piece { gpa: START, offset: 0, size: 0x3000 }];
        let plan = Plan { initrd, memory: "64M".parse().unwrap(), ..plan(&bytes, &pieces) };
        let memory = memory::allocate_shared(plan.memory).unwrap();
        let loaded = load(&memory, &plan).unwrap();
        assert_eq!(loaded, Loaded { mapped: 0, copied: 0x3000 + 0x1801 });
        assert_eq!(seen(&memory, START, 0x3000), bytes);
        assert_eq!(seen(&memory, 2 * START, 0x1801), &bytes[..0x1801]);
    }

    #[test]
    fn a_guests_writes_do_not_reach_the_file() {
        let plan = plan(&noise(0x1000), &[Piece { gpa: START, offset: 0, size: 0x1000 }]);
        let memory = memory::allocate(plan.memory).unwrap();
        assert_eq!(load(&memory, &plan).unwrap().mapped, 0x1000);
        memory.write_slice(&[0xEE; 0x1000], GuestAddress(START)).unwrap();
        let mut after = [0; 0x1000];
        std::os::unix::fs::FileExt::read_exact_at(&plan.kernel, &mut after, 0).unwrap();
        assert_eq!(after.as_slice(), noise(0x1000));
    }

    #[test]
    fn what_is_written_is_provided_and_still_the_files() {
        let bytes = noise(0x3000);
        let written = vec![
            Range { start: START, end: START + 0x5000 },
            // Larger than anything that is provided, and behind the end of memory.
            Range { start: START + MIB, end: 64 * MIB },
        ];
        let plan =
            Plan { written, ..plan(&bytes, &[Piece { gpa: START, offset: 0, size: 0x3000 }]) };
        let memory = memory::allocate(plan.memory).unwrap();
        assert_eq!(load(&memory, &plan).unwrap().mapped, 0x3000);
        assert_eq!(seen(&memory, START, 0x3000), bytes);
        assert_eq!(seen(&memory, START + 0x3000, 0x2000), [0; 0x2000]);
    }

    #[test]
    fn a_file_that_shrank_since_it_was_checked_is_an_error() {
        let plan = plan(&noise(0x800), &[Piece { gpa: START, offset: 0, size: 0x900 }]);
        let memory = memory::allocate(plan.memory).unwrap();
        assert!(matches!(load(&memory, &plan), Err(Error::Copy("the kernel", _))));
    }
}
