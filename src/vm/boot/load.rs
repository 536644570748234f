//! Carries out a [`Plan`]: kernel and initrd into guest memory, mapped where alignment allows and
//! copied where it does not.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};

use thiserror::Error;
use vm_memory::{Bytes, GuestAddress, GuestMemoryError, GuestMemoryMmap};

use super::plan::{Piece, Plan};
use crate::vm::layout::PAGE;
use crate::vm::memory;

/// How the bytes of kernel and initrd came into guest memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    if let Some(initrd) = &plan.initrd {
        let (gpa, size) = (initrd.gpa.start, initrd.gpa.size());
        match memory::map_file(memory, gpa, &initrd.file, 0, size) {
            Ok(()) => loaded.mapped += size,
            // Some file systems cannot map.
            Err(memory::Error::Map(_)) => {
                let whole = Piece { gpa, offset: 0, size };
                copy(memory, "the initrd", &initrd.file, whole, &mut loaded)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(loaded)
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
