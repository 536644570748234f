//! This very program, as an init for guests.

use std::fs;
use std::io;
use std::path::Path;

use object::elf::PT_LOAD;
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, elf::FileHeader64};

use super::error::Error;

/// The running program's file.
const THIS: &str = "/proc/self/exe";

/// This program without what is not loaded when it runs.
pub(crate) fn own_program() -> Result<Vec<u8>, Error> {
    let failed = |action| Error::file(action, THIS.as_ref());
    let program = fs::read(THIS).map_err(failed("read"))?;
    loaded_part(&program, THIS.as_ref())
}

/// The part of an ELF program that is loaded when it runs. Debug information and section headers
/// lie behind it and can be ten times as large; nobody debugs /init from the inside.
///
/// # Errors
/// It is no ELF program.
pub(crate) fn loaded_part(program: &[u8], path: &Path) -> Result<Vec<u8>, Error> {
    let parse = || -> object::Result<Vec<u8>> {
        let header = FileHeader64::<Endianness>::parse(program)?;
        let endian = header.endian()?;
        let ends = header
            .program_headers(endian, program)?
            .iter()
            .filter(|segment| segment.p_type(endian) == PT_LOAD)
            .map(|segment| segment.p_offset(endian).saturating_add(segment.p_filesz(endian)));
        let end = ends.max().and_then(|end| usize::try_from(end).ok()).unwrap_or(program.len());
        let mut loaded = program.get(..end).unwrap_or(program).to_vec();
        // Field positions in Elf64_Ehdr: e_shoff at 40, e_shnum and e_shstrndx at 60 and 62.
        for range in [40..48, 60..64] {
            if let Some(field) = loaded.get_mut(range) {
                field.fill(0);
            }
        }
        Ok(loaded)
    };
    parse().map_err(io::Error::other).map_err(Error::file("understand", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    #[test]
    fn a_program_runs_without_what_is_not_loaded() {
        let place = tempfile::tempdir().unwrap();
        let (part, path) = (place.path().join("part"), place.path().join("program"));
        let whole = fs::read("/bin/true").unwrap();
        fs::write(&part, loaded_part(&whole, &part).unwrap()).unwrap();
        fs::set_permissions(&part, fs::Permissions::from_mode(0o755)).unwrap();
        // What other tests start meanwhile has open for writing what this process writes, and such a
        // program cannot be executed.
        assert!(Command::new("cp").args([&part, &path]).status().unwrap().success());
        assert!(Command::new(&path).status().unwrap().success());
        assert!(loaded_part(b"no program", &path).is_err());
    }
}
