//! Making files cold: the page cache forgets them.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};

use crate::bench::contender::Contender;
use crate::bench::results::Place;
use crate::bench::workshop::Workshop;

/// Where the kernel is told to forget all that is clean.
const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

/// Lets the page cache forget what a start reads: on the host these files alone, one by one, for others use
/// the host too; in the testbed all.
///
/// What a running process has mapped stays, the C library for one.
///
/// # Errors
/// Saying which file.
pub(super) fn forget(
    workshop: &Workshop,
    contender: &dyn Contender,
    place: Place,
) -> Result<(), String> {
    if place != Place::Host {
        nix::unistd::sync();
        return fs::write(DROP_CACHES, "3").map_err(|error| format!("{DROP_CACHES}: {error}"));
    }
    let mut files = contender.files();
    list(&workshop.image, &mut files).map_err(|error| format!("cannot read the image: {error}"))?;
    for file in files {
        match forget_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(format!("{} stays in the page cache: {error}", file.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Adds the regular files below a directory.
fn list(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            list(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn forget_file(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    if fstatfs(&file)?.filesystem_type() == TMPFS_MAGIC {
        let what = "it lies in memory (tmpfs): set TMPDIR to a directory on a disk";
        return Err(io::Error::other(what));
    }
    // Dirty pages stay.
    file.sync_data()?;
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_memory_cannot_be_forgotten() {
        let file = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
        let error = forget_file(file.path()).unwrap_err();
        assert!(error.to_string().contains("TMPDIR"), "{error}");
        let missing = forget_file(Path::new("/nonesuch")).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    }
}
