//! What a kernel's functions are called: from its System.map, from the symbols of its ELF, or from the table
//! that it has for itself.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use object::read::elf::ElfFile64;
use object::{Object, ObjectSymbol, SymbolKind};
use thiserror::Error;

use super::system_map;

/// A kernel with everything built in has 200,000; its vmlinux with debug information 1 GiB.
const MOST_BYTES: u64 = 2 << 30;
/// Names that would be longer are cut off.
const LONGEST_NAME: usize = 256;
/// No function is that long: what lies so far behind a symbol belongs to nobody who is named.
const LONGEST_FUNCTION: u64 = 1 << 20;

/// Why there are no names.
#[derive(Debug, Error)]
pub enum Error {
    /// The system's.
    #[error("--symbols {}: {}", .0.display(), .1)]
    Io(PathBuf, #[source] io::Error),
    /// Neither form.
    #[error(
        "--symbols {}: it has no names of functions: give the System.map of the guest's kernel, or its \
         vmlinux, uncompressed", .0.display()
    )]
    NoNames(PathBuf),
}

/// Functions by their address.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    /// In order.
    functions: Vec<(u64, String)>,
}

impl Symbols {
    /// Reads a System.map or an ELF, with symbols or with a kernel's own table of them.
    ///
    /// # Errors
    /// There is none, or it has no names.
    pub fn read(path: &Path) -> Result<Symbols, Error> {
        let failed = |error| Error::Io(path.to_owned(), error);
        // The name may be one that a trace from elsewhere gives: no device is waited for.
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = File::options().read(true).custom_flags(flags).open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() || metadata.len() > MOST_BYTES {
            return Err(Error::NoNames(path.to_owned()));
        }
        let mut bytes = Vec::new();
        file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(failed)?;
        let symbols = Symbols::parse(&bytes);
        if symbols.functions.is_empty() {
            return Err(Error::NoNames(path.to_owned()));
        }
        Ok(symbols)
    }

    /// Finds them beside the kernel that a trace names, if they are there. `None`: nowhere.
    pub fn beside(kernel: &Path) -> Option<(PathBuf, Symbols)> {
        let neighbours = ["System.map", "vmlinux.symbols", "vmlinux.debug", "vmlinux"];
        let neighbours = neighbours.map(|name| kernel.with_file_name(name));
        std::iter::once(kernel.to_owned())
            .chain(neighbours)
            .find_map(|path| Symbols::read(&path).ok().map(|symbols| (path, symbols)))
    }

    /// What is in a file of either form; nothing where it is of neither.
    pub fn parse(bytes: &[u8]) -> Symbols {
        let mut functions =
            if bytes.starts_with(b"\x7FELF") { of_elf(bytes) } else { of_map(bytes) };
        functions.sort();
        functions.dedup_by_key(|(address, _)| *address);
        Symbols { functions }
    }

    /// The function that an address lies in, and how far.
    pub fn find(&self, address: u64) -> Option<(&str, u64)> {
        let after = self.functions.partition_point(|(start, _)| *start <= address);
        let (start, name) = self.functions.get(after.checked_sub(1)?)?;
        let offset = address - start;
        (offset < LONGEST_FUNCTION).then_some((name, offset))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.functions.len()
    }
}

pub(super) fn name_of(bytes: &[u8]) -> String {
    // For people's eyes, and it may come from anywhere.
    let text = String::from_utf8_lossy(bytes.get(..LONGEST_NAME).unwrap_or(bytes));
    text.chars().filter(|c| !c.is_control()).collect()
}

fn of_elf(bytes: &[u8]) -> Vec<(u64, String)> {
    let Ok(elf) = ElfFile64::<object::Endianness>::parse(bytes) else { return Vec::new() };
    let code = elf.symbols().filter(|symbol| {
        // The kernel's assembly has labels without a type.
        matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Label | SymbolKind::Unknown)
            && symbol.is_definition()
    });
    let named: Vec<(u64, String)> = code
        .filter_map(|symbol| Some((symbol.address(), name_of(symbol.name_bytes().ok()?))))
        .filter(|(address, name)| *address > 0 && !name.is_empty())
        .collect();
    if named.is_empty() { super::kallsyms::functions(bytes) } else { named }
}

fn of_map(bytes: &[u8]) -> Vec<(u64, String)> {
    system_map::symbols(bytes)
        .filter(|symbol| symbol.is_code() && symbol.address > 0)
        .map(|symbol| (symbol.address, name_of(symbol.name)))
        .filter(|(_, name)| !name.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "0000000000000000 A not_code\n\
        ffffffff81000000 T _text\n\
        ffffffff81000100 t io_serial_out\n\
        ffffffff81000200 D data\n\
        ffffffff81000300 T last\n\
        nonsense\n";

    #[test]
    fn an_address_is_in_the_function_that_begins_before_it() {
        let symbols = Symbols::parse(MAP.as_bytes());
        assert_eq!(symbols.count(), 3);
        assert_eq!(symbols.find(0xFFFF_FFFF_8100_0105), Some(("io_serial_out", 5)));
        assert_eq!(symbols.find(0xFFFF_FFFF_8100_0000), Some(("_text", 0)));
        assert_eq!(symbols.find(0xFFFF_FFFF_80FF_FFFF), None);
        assert_eq!(symbols.find(u64::MAX), None, "far behind the last");
    }

    #[test]
    fn an_elf_has_them_in_its_symbol_table() {
        // This test itself is one.
        let own = std::env::current_exe().unwrap();
        let symbols = Symbols::read(&own).unwrap();
        assert!(symbols.functions.iter().any(|(_, name)| name.contains("an_elf_has_them")));
    }

    #[test]
    fn a_file_without_names_is_refused() {
        for bytes in [&b""[..], b"\x7FELF", b"\x7FELF\x02\x01\x01", b"hello\nworld\n", &[0xFF; 99]]
        {
            assert_eq!(Symbols::parse(bytes).count(), 0);
        }
        assert!(matches!(Symbols::read(Path::new("/dev/null")), Err(Error::NoNames(_))));
    }
}
