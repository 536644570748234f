//! Which files a program needs to run: itself, its interpreter, its shared libraries.
//!
//! Where a command must not touch the host's file system while it runs (because that would disturb
//! the clock, or because there is none), these are brought to it first.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use object::elf::PT_INTERP;
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, elf::FileHeader64};

use crate::host::find_program;

/// How many `#!` lines lead on to another before we stop following; Linux stops at 4.
const SCRIPT_DEPTH: usize = 4;

/// The files that `program` needs to start. What it loads later by itself (plug-ins, firmware,
/// data) can't be known.
pub(crate) fn files_to_run(
    program: &Path,
    env: &[(OsString, OsString)],
) -> io::Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    follow(program, env, SCRIPT_DEPTH, &mut files)?;
    // Without the loader's cache, libraries outside its standard directories aren't found.
    let cache = PathBuf::from("/etc/ld.so.cache");
    if files.len() > 1 && cache.exists() {
        files.insert(cache);
    }
    Ok(files)
}

fn follow(
    program: &Path,
    env: &[(OsString, OsString)],
    depth: usize,
    files: &mut BTreeSet<PathBuf>,
) -> io::Result<()> {
    files.insert(program.to_owned());
    if let Some(words) = script_words(program)? {
        let Some(depth) = depth.checked_sub(1) else { return Ok(()) };
        let search = env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| &**value);
        // All words: `#!/usr/bin/env python3` needs both. One that is no program is an argument.
        for (position, word) in words.iter().enumerate() {
            match find_program(word, search) {
                Ok(next) => follow(&next, env, depth, files)?,
                Err(error) if position == 0 => return Err(error),
                Err(_) => {}
            }
        }
        return Ok(());
    }
    let Some(loader) = loader_of(program)? else { return Ok(()) };
    // The loader knows best what it would load, and does not start the program for this.
    let listing = Command::new(&loader)
        .arg("--list")
        .arg(program)
        .env_clear()
        .envs(env.iter().map(|(k, v)| (k, v)))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    files.extend(listed_paths(&listing.stdout));
    files.insert(loader);
    Ok(())
}

/// Absolute paths in the loader's listing: `libc.so.6 => /lib/x/libc.so.6 (0x7f…)`.
fn listed_paths(listing: &[u8]) -> impl Iterator<Item = PathBuf> {
    listing
        .split(|byte| byte.is_ascii_whitespace())
        .filter(|word| word.starts_with(b"/"))
        .map(|word| PathBuf::from(OsStr::from_bytes(word)))
}

/// The words after `#!`, for a script.
fn script_words(path: &Path) -> io::Result<Option<Vec<OsString>>> {
    let mut start = Vec::new();
    File::open(path)?.take(256).read_to_end(&mut start)?;
    let Some(line) = start.strip_prefix(b"#!") else { return Ok(None) };
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    Ok(Some(words.map(|word| OsStr::from_bytes(word).to_owned()).collect()))
}

/// The dynamic loader that an ELF program names, if it is one and names one.
fn loader_of(path: &Path) -> io::Result<Option<PathBuf>> {
    // Program headers and the loader's name lie at the start of every file that a linker made.
    let mut start = Vec::new();
    File::open(path)?.take(64 << 10).read_to_end(&mut start)?;
    let Ok(header) = FileHeader64::<Endianness>::parse(&*start) else { return Ok(None) };
    let Ok(endian) = header.endian() else { return Ok(None) };
    let Ok(segments) = header.program_headers(endian, &*start) else { return Ok(None) };
    let name = segments
        .iter()
        .filter(|segment| segment.p_type(endian) == PT_INTERP)
        .find_map(|segment| segment.data(endian, &*start).ok());
    let name = name.and_then(|name| name.split(|byte| *byte == 0).next());
    Ok(name.map(|name| PathBuf::from(OsStr::from_bytes(name))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn env() -> Vec<(OsString, OsString)> {
        vec![("PATH".into(), "/usr/bin:/bin".into())]
    }

    #[test]
    fn follows_libraries_of_a_program() {
        let files = files_to_run(Path::new("/bin/ls"), &env()).unwrap();
        let names: Vec<_> =
            files.iter().map(|f| f.file_name().unwrap().to_str().unwrap()).collect();
        assert!(names.contains(&"ls") && names.contains(&"libc.so.6"), "{names:?}");
        assert!(names.iter().any(|name| name.starts_with("ld-linux")), "{names:?}");
    }

    #[test]
    fn follows_scripts() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("script");
        fs::write(&script, "#!/usr/bin/env sh -x\n").unwrap();
        let files = files_to_run(&script, &env()).unwrap();
        for name in ["/usr/bin/env", "/usr/bin/sh"] {
            assert!(files.contains(Path::new(name)), "{files:?}");
        }
    }

    #[test]
    fn a_script_that_names_itself_ends() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("script");
        fs::write(&script, format!("#!{}\n", script.display())).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(files_to_run(&script, &env()).unwrap().len(), 1);
    }
}
