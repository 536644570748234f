//! A kernel's symbols for GDB: an ELF file without code, made of the kernel's System.map. GDB asks for it when it
//! connects, so nobody has to name it.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use object::read::elf::{FileHeader as _, ProgramHeader as _};
use object::{Endianness, elf};

use crate::trace::system_map::{self, Symbol};

/// The most bytes of a System.map, or of an ELF with symbols: a kernel with all debugging information is larger,
/// and is better given to GDB itself.
const MOST: u64 = 64 << 20;
/// The name by which GDB asks for it.
pub(super) const NAME: &str = "/duplex/vmlinux";

/// How far into a kernel's file its program headers are looked for.
const HEADERS: u64 = 64 << 10;
/// Where addresses of the kernel begin.
const UPPER_HALF: u64 = 1 << 63;

const EHDR: usize = 64;
const SHDR: usize = 64;
const SYM: usize = 24;
/// No code, the code, symbols, their names, and the sections' names.
const SECTIONS: usize = 5;
const SECTION_NAMES: &[u8] = b"\0.text\0.symtab\0.strtab\0.shstrtab\0";
const SHT_SYMTAB: u32 = 2;
const SHT_STRTAB: u32 = 3;
const SHT_NOBITS: u32 = 8;
const SHF_ALLOC_EXECUTE: u64 = 2 | 4;
const STT_OBJECT: u8 = 1;
const STT_FUNC: u8 = 2;
const STB_GLOBAL: u8 = 1 << 4;

/// The symbols of the kernel in this file: those of the System.map beside it, or its own; none where there are
/// neither.
///
/// # Errors
/// The file cannot be read.
pub fn beside(kernel: &Path) -> io::Result<Option<Vec<u8>>> {
    let map = kernel.with_file_name("System.map");
    if fs::metadata(&map).is_ok_and(|file| file.is_file() && file.len() <= MOST) {
        return Ok(Some(from_map(&fs::read(map)?)));
    }
    let file = fs::metadata(kernel)?;
    if file.len() > MOST {
        return Ok(None);
    }
    Ok(Some(fs::read(kernel)?).filter(|elf| elf.starts_with(b"\x7FELF")))
}

/// Where a part of the kernel lies, before and after it has page tables of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The linear address that it is linked to.
    pub address: u64,
    /// Where it is loaded.
    pub gpa: u64,
    /// How many bytes it has.
    pub size: u64,
}

/// The segments of a kernel's ELF in the upper half of addresses; none where it is another file.
pub fn segments(kernel: &Path) -> Vec<Segment> {
    let mut head = Vec::new();
    let read = File::open(kernel).and_then(|file| file.take(HEADERS).read_to_end(&mut head));
    if read.is_err() {
        return Vec::new();
    }
    let Ok(elf) = elf::FileHeader64::<Endianness>::parse(&*head) else { return Vec::new() };
    let Ok(endian) = elf.endian() else { return Vec::new() };
    let headers = elf.program_headers(endian, &*head).unwrap_or_default();
    let loaded = headers.iter().filter(|header| header.p_type(endian) == elf::PT_LOAD);
    let segments = loaded.map(|header| Segment {
        address: header.p_vaddr(endian),
        gpa: header.p_paddr(endian),
        size: header.p_memsz(endian),
    });
    segments.filter(|segment| segment.address >= UPPER_HALF).collect()
}

/// An ELF with the symbols of a System.map.
pub fn from_map(map: &[u8]) -> Vec<u8> {
    let mut symbols: Vec<Symbol<'_>> = system_map::symbols(map).collect();
    symbols.sort_by_key(|symbol| symbol.address);
    let mut names = vec![0];
    let mut table = vec![0; SYM];
    let ends = symbols.iter().skip(1).map(|symbol| symbol.address).chain([u64::MAX]);
    for (symbol, end) in symbols.iter().zip(ends) {
        let Ok(place) = u32::try_from(names.len()) else { break };
        let what = if symbol.is_code() { STT_FUNC } else { STT_OBJECT };
        // The last of them has no end, and needs none.
        let size = if end == u64::MAX { 0 } else { end - symbol.address };
        table.extend(place.to_le_bytes());
        table.extend([STB_GLOBAL | what, 0]);
        table.extend(1_u16.to_le_bytes());
        table.extend(symbol.address.to_le_bytes());
        table.extend(size.to_le_bytes());
        names.extend(symbol.name);
        names.push(0);
    }
    let mut code = symbols.iter().filter(|symbol| symbol.is_code()).map(|symbol| symbol.address);
    let first = code.next().unwrap_or(0);
    let last = code.next_back().unwrap_or(first);
    file(&table, &names, first, last)
}

fn file(table: &[u8], names: &[u8], first: u64, last: u64) -> Vec<u8> {
    let mut file = b"\x7FELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    // An executable for x86-64, version 1.
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    let word = |number: usize| u64::try_from(number).unwrap_or(0).to_le_bytes();
    let sections = EHDR + table.len() + names.len() + SECTION_NAMES.len();
    // The entry, no program headers, and where the section headers are.
    for value in [first.to_le_bytes(), word(0), word(sections)] {
        file.extend(value);
    }
    let half = |number: usize| u16::try_from(number).unwrap_or(0).to_le_bytes();
    file.extend([0; 4]);
    for value in [EHDR, 56, 0, SHDR, SECTIONS, SECTIONS - 1] {
        file.extend(half(value));
    }
    file.extend(table);
    file.extend(names);
    file.extend(SECTION_NAMES);
    file.extend([0; SHDR]);
    let mut header = |name: u32, kind: u32, flags: u64, address: u64, place: usize, size: u64| {
        let is_table = kind == SHT_SYMTAB;
        file.extend(name.to_le_bytes());
        file.extend(kind.to_le_bytes());
        for value in [flags.to_le_bytes(), address.to_le_bytes(), word(place), size.to_le_bytes()] {
            file.extend(value);
        }
        // A symbol table: its names are in section 3, and its first global one is number 1.
        file.extend(if is_table { 3_u32 } else { 0 }.to_le_bytes());
        file.extend(u32::from(is_table).to_le_bytes());
        file.extend(if is_table { 8_u64 } else { 1 }.to_le_bytes());
        file.extend(if is_table { word(SYM) } else { word(0) });
    };
    let size = |bytes: &[u8]| u64::try_from(bytes.len()).unwrap_or(0);
    let strings = EHDR + table.len();
    header(
        1,
        SHT_NOBITS,
        SHF_ALLOC_EXECUTE,
        first,
        EHDR,
        last.saturating_sub(first).saturating_add(4096),
    );
    header(7, SHT_SYMTAB, 0, 0, EHDR, size(table));
    header(15, SHT_STRTAB, 0, 0, strings, size(names));
    header(23, SHT_STRTAB, 0, 0, strings + names.len(), size(SECTION_NAMES));
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::{Object as _, ObjectSymbol as _};
    use proptest::prelude::*;

    #[test]
    fn a_map_becomes_an_elf_that_others_read() {
        let map = "ffffffff81000000 T _text\nffffffff81000100 T start_kernel\n\
                   ffffffff82000000 D jiffies\n0000000000000010 A number\nnonsense\n";
        let elf = from_map(map.as_bytes());
        let elf = object::read::elf::ElfFile64::<object::Endianness>::parse(&*elf).unwrap();
        let found: Vec<_> = elf
            .symbols()
            .map(|symbol| (symbol.name().unwrap().to_owned(), symbol.address(), symbol.size()))
            .collect();
        let expected = [
            ("_text", 0xFFFF_FFFF_8100_0000, 0x100),
            ("start_kernel", 0xFFFF_FFFF_8100_0100, 0xFF_FF00),
            ("jiffies", 0xFFFF_FFFF_8200_0000, 0),
        ];
        assert_eq!(found, expected.map(|(name, at, size)| (name.to_owned(), at, size)));
        assert_eq!(elf.section_by_name_bytes(b".text").map(|_| ()), Some(()));
    }

    proptest! {
        #[test]
        fn any_text_becomes_a_file(map in "[0-9a-f]{0,20} [A-Za-z]? ?[a-z\\PC]{0,8}(\n[0-9a-f]{0,18} [a-zA-Z] [a-z]{1,5}){0,5}") {
            let elf = from_map(map.as_bytes());
            prop_assert!(object::read::elf::ElfFile64::<object::Endianness>::parse(&*elf).is_ok());
        }
    }
}
