//! Machine code out of what `as` writes: an ELF object whose `.text` is linked to where a lesson starts.
//!
//! Only as much of a linker as a lesson needs: one section, and the relocations that the assembler leaves
//! open in it. What it does not know it refuses with the name of the thing.

use object::elf;
use object::read::elf::{ElfFile64, FileHeader as _};
use object::{Endianness, Object as _, ObjectSection as _, ObjectSymbol as _};
use object::{RelocationFlags, RelocationTarget, SectionFlags, SymbolSection};
use thiserror::Error;

/// Why an object file cannot be run as a lesson.
#[derive(Debug, Error)]
pub enum Error {
    /// Not what `as` writes.
    #[error("no object file of `as` for x86-64: {0}")]
    NoObject(String),
    /// Something is outside of `.text`.
    #[error("section {0} has content: a lesson's guest is one section, .text, data included")]
    Section(String),
    /// A symbol that is nowhere.
    #[error("symbol {0} is defined nowhere: define the label, or write $ before a number")]
    Undefined(String),
    /// A relocation that is not known, or does not fit.
    #[error("what refers to {0} at offset {1:#x} {2}")]
    Relocation(String, u64, &'static str),
}

fn no_object(error: object::read::Error) -> Error {
    Error::NoObject(error.to_string())
}

/// The code of an object file, linked to run at `base`.
///
/// # Errors
/// What in the file a lesson's guest cannot have.
pub(super) fn link(file: &[u8], base: u64) -> Result<Vec<u8>, Error> {
    let elf = ElfFile64::<Endianness>::parse(file).map_err(no_object)?;
    let header = elf.elf_header();
    let endian = elf.endian();
    if header.e_machine(endian) != elf::EM_X86_64 || header.e_type(endian) != elf::ET_REL {
        return Err(Error::NoObject("it is for another machine, or linked already".into()));
    }
    let mut text = None;
    for section in elf.sections() {
        let name = section.name().map_err(no_object)?;
        let SectionFlags::Elf { sh_flags, .. } = section.flags() else { continue };
        if name == ".text" {
            text = Some(section);
        } else if sh_flags.contains(elf::SHF_ALLOC)
            && section.size() > 0
            && !name.starts_with(".note")
        {
            return Err(Error::Section(name.to_owned()));
        }
    }
    let text = text.ok_or_else(|| Error::NoObject("it has no .text".into()))?;
    let mut code = text.data().map_err(no_object)?.to_vec();
    for (offset, relocation) in text.relocations() {
        let RelocationTarget::Symbol(index) = relocation.target() else { continue };
        let symbol = elf.symbol_by_index(index).map_err(no_object)?;
        let name = symbol.name().unwrap_or_default().to_owned();
        let value = match symbol.section() {
            SymbolSection::Section(section) if section == text.index() => {
                base.wrapping_add(symbol.address())
            }
            SymbolSection::Absolute => symbol.address(),
            _ => return Err(Error::Undefined(name)),
        };
        let RelocationFlags::Elf { r_type } = relocation.flags() else { continue };
        let (size, relative) = form(r_type).ok_or(Error::Relocation(
            name.clone(),
            offset,
            "has a form that is not known here",
        ))?;
        let value = value.wrapping_add_signed(relocation.addend());
        let place = base.wrapping_add(offset);
        let value = if relative { value.wrapping_sub(place) } else { value };
        let misfit = |what| Error::Relocation(name.clone(), offset, what);
        if !fits(value, size) {
            return Err(misfit("does not reach that far, or is too narrow for its address"));
        }
        let start = usize::try_from(offset).ok();
        let field = start.and_then(|start| code.get_mut(start..start.checked_add(size)?));
        let field = field.ok_or_else(|| misfit("lies outside of .text"))?;
        for (byte, new) in field.iter_mut().zip(value.to_le_bytes()) {
            *byte = new;
        }
    }
    Ok(code)
}

/// How many bytes a relocation fills in, and whether they are relative to their place (System V ABI for
/// x86-64, section 4.4.1).
fn form(kind: elf::RelocationType) -> Option<(usize, bool)> {
    Some(match kind {
        elf::R_X86_64_64 => (8, false),
        elf::R_X86_64_32 | elf::R_X86_64_32S => (4, false),
        elf::R_X86_64_16 => (2, false),
        elf::R_X86_64_8 => (1, false),
        elf::R_X86_64_PC64 => (8, true),
        elf::R_X86_64_PC32 | elf::R_X86_64_PLT32 => (4, true),
        elf::R_X86_64_PC16 => (2, true),
        elf::R_X86_64_PC8 => (1, true),
        _ => return None,
    })
}

/// Whether the value is the same when it is read back from that many bytes, with or without a sign.
fn fits(value: u64, size: usize) -> bool {
    let unused = 64 - 8 * u32::try_from(size.min(8)).unwrap_or(8);
    let signed = value.cast_signed();
    value << unused >> unused == value || signed << unused >> unused == signed
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_value_fits_with_or_without_a_sign() {
        assert!(fits(0xFFFF, 2) && fits(0_u64.wrapping_sub(1), 2) && fits(u64::MAX, 8));
        assert!(!fits(0x1_0000, 2) && !fits(0_u64.wrapping_sub(0x8001), 2));
    }

    proptest! {
        #[test]
        fn any_file_is_linked_or_refused(
            at in 0..700_usize, byte: u8, cut in 0..1500_usize
        ) {
            let mut file = crate::learn::catalogue::LESSONS[3].embedded.object.to_vec();
            let at = at % file.len();
            file[at] = byte;
            let _ = link(&file, 0x1000);
            file.truncate(cut);
            let _ = link(&file, 0x1000);
        }
    }
}
