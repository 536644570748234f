//! The files that a command names, opened here and now: with the caller's rights, and before a
//! machine is started for nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, eaccess};

use super::control::MAX_DESCRIPTORS;
use super::error::Error;
use super::protocol::Export;

/// Trees that the testbed does not have from the host.
const ABSENT: [&str; 4] = ["/dev", "/proc", "/run", "/sys"];

/// Numbers that a command may find as `/dev/fd/N` in the testbed.
const DESCRIPTORS: std::ops::Range<i32> = 3..256;

/// One of them.
#[derive(Debug)]
pub(super) struct NamedFile {
    /// What the keeper is told.
    pub(super) export: Export,
    /// The proof that the caller may.
    pub(super) opened: OwnedFd,
    /// Where the command finds it: always by its real path, and under /run and the like also by
    /// the path given, for the symbolic links that lead there are not visible in the testbed.
    pub(super) places: Vec<PathBuf>,
    /// For `/dev/fd/N`: under which number the command finds it open.
    pub(super) descriptor: Option<i32>,
}

impl NamedFile {
    /// Whether it is a directory.
    pub(super) fn is_directory(&self) -> bool {
        fs::metadata(fd_path(&self.opened)).is_ok_and(|metadata| metadata.is_dir())
    }

    /// Copies its content to a new file at `place`.
    pub(super) fn copy_to(&self, place: &Path) -> io::Result<()> {
        // Opened anew, to read from its start; a pipe has none and is read as it is.
        let mut from = File::open(fd_path(&self.opened))?;
        io::copy(&mut from, &mut File::create_new(place)?).map(drop)
    }
}

fn fd_path(fd: &OwnedFd) -> PathBuf {
    Path::new("/proc/self/fd").join(fd.as_raw_fd().to_string())
}

/// Opens all of them.
pub(super) fn open_all(writable: &[PathBuf], inputs: &[PathBuf]) -> Result<Vec<NamedFile>, Error> {
    let all = writable.iter().map(|path| (path, true)).chain(inputs.iter().map(|p| (p, false)));
    let mut files = Vec::new();
    for (path, write) in all {
        if files.len() == MAX_DESCRIPTORS {
            return Err(named(
                path,
                format!(
                    "more than {MAX_DESCRIPTORS} files are named; name their directory instead"
                ),
            ));
        }
        files.push(open(path, write)?);
    }
    Ok(files)
}

fn open(path: &Path, write: bool) -> Result<NamedFile, Error> {
    let failed = |error: io::Error| named(path, error.to_string());
    let absolute = std::path::absolute(path).map_err(failed)?;
    if let Some(number) = descriptor_number(&absolute) {
        return open_descriptor(path, &absolute, number, write);
    }
    let opened = if write { open_for_writing(path) } else { open_for_reading(path) }?;
    let real = fs::canonicalize(path).map_err(failed)?;
    if write && real == Path::new("/") {
        return Err(named(path, "that is everything; name what the command has to write".into()));
    }
    let mut places = vec![real.clone()];
    if absolute != real && ABSENT.iter().any(|tree| absolute.starts_with(tree)) {
        places.push(absolute);
    }
    Ok(NamedFile { export: Export { path: real, write }, opened, places, descriptor: None })
}

/// The N of a path to this process's own open file.
fn descriptor_number(path: &Path) -> Option<i32> {
    let own = format!("/proc/{}/fd", std::process::id());
    ["/dev/fd", "/proc/self/fd", &own]
        .iter()
        .find_map(|tree| path.strip_prefix(tree).ok()?.to_str()?.parse().ok())
}

fn open_descriptor(
    path: &Path,
    absolute: &Path,
    number: i32,
    write: bool,
) -> Result<NamedFile, Error> {
    if write || !DESCRIPTORS.contains(&number) {
        return Err(named(
            path,
            format!(
                "an open descriptor can be passed on to the testbed for reading, by a number from \
                 {} to {}; give the file's path instead",
                DESCRIPTORS.start,
                DESCRIPTORS.end - 1
            ),
        ));
    }
    let opened = open_for_reading(path)?;
    // What a shell's redirection opened has a path, by which the keeper can find it; what has none
    // is copied.
    let real = fs::canonicalize(absolute).unwrap_or_else(|_| absolute.to_owned());
    Ok(NamedFile {
        export: Export { path: real, write },
        opened,
        places: Vec::new(),
        descriptor: Some(number),
    })
}

fn open_for_reading(path: &Path) -> Result<OwnedFd, Error> {
    let metadata = fs::metadata(path).map_err(|error| named(path, error.to_string()))?;
    let kind = metadata.file_type();
    if kind.is_block_device() || kind.is_char_device() || kind.is_socket() {
        return Err(not_a_file(path));
    }
    let file = File::open(path).map_err(|error| named(path, error.to_string()))?;
    Ok(file.into())
}

fn open_for_writing(path: &Path) -> Result<OwnedFd, Error> {
    let failed = |error: io::Error| named(path, error.to_string());
    // Not to wait for the other end of a FIFO; and a file that is not there is made.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).custom_flags(flags);
    let file = match options.open(path) {
        Err(error) if error.kind() == ErrorKind::IsADirectory => {
            eaccess(path, AccessFlags::W_OK | AccessFlags::X_OK)
                .map_err(|error| failed(error.into()))?;
            File::open(path).map_err(failed)?
        }
        other => other.map_err(failed)?,
    };
    let kind = file.metadata().map_err(failed)?.file_type();
    if kind.is_file() || kind.is_dir() { Ok(file.into()) } else { Err(not_a_file(path)) }
}

fn not_a_file(path: &Path) -> Error {
    named(
        path,
        "devices, sockets and pipes of the host can't be shown to the testbed; \
         use a file or a directory"
            .into(),
    )
}

fn named(path: &Path, reason: String) -> Error {
    Error::Named { path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_output_is_created_and_a_missing_input_is_not() {
        let place = tempfile::tempdir().unwrap();
        let (output, input) = (place.path().join("out"), place.path().join("in"));
        let files = open_all(std::slice::from_ref(&output), &[]).unwrap();
        assert!(output.exists() && files[0].export.write);
        assert!(matches!(open_all(&[], &[input]), Err(Error::Named { .. })));
    }

    #[test]
    fn devices_and_the_root_are_refused() {
        for path in ["/dev/null", "/", "/dev/fd/0"] {
            let result = open_all(&[path.into()], &[]);
            assert!(matches!(result, Err(Error::Named { .. })), "{path}: {result:?}");
        }
    }

    #[test]
    fn real_paths_and_links_in_absent_trees() {
        let place = tempfile::tempdir_in("/dev/shm").unwrap();
        let (file, link) = (place.path().join("file"), place.path().join("link"));
        fs::write(&file, "x").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let files = open_all(&[], std::slice::from_ref(&link)).unwrap();
        assert_eq!(files[0].places, [file, link]);
    }

    #[test]
    fn descriptors_go_by_number() {
        use std::os::fd::AsRawFd;
        let file = tempfile::tempfile().unwrap();
        let path = PathBuf::from(format!("/dev/fd/{}", file.as_raw_fd()));
        let files = open_all(&[], &[path]).unwrap();
        assert_eq!(files[0].descriptor, Some(file.as_raw_fd()));
        assert!(files[0].places.is_empty());
    }
}
