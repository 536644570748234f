//! One place in the state directory: its lock, its files, and its removal.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub(super) const LOCK: &str = "lock";
const STAGE: &str = "stage";
const WORK: &str = "work";
/// Files of a place that are read as a whole are shorter, in bytes.
const LONGEST: u64 = 1 << 20;

/// The place of one testbed or instance.
#[derive(Debug)]
pub(crate) struct Place {
    /// Its directory.
    pub(crate) path: PathBuf,
    /// The same, open: paths of sockets are short, and through a descriptor any path is.
    pub(crate) directory: File,
    /// Held; whoever inherits it keeps the place alive.
    pub(crate) lock: File,
}

impl Place {
    /// Makes room for mounts.
    pub(crate) fn make_work(&self) -> io::Result<PathBuf> {
        let work = self.path.join(WORK);
        fs::create_dir(&work)?;
        Ok(work)
    }

    /// Room for files on their way elsewhere.
    pub(crate) fn stage(&self) -> PathBuf {
        self.path.join(STAGE)
    }

    /// Says how it has ended, to whoever waits for the lock. With that, it is no leftover.
    pub(crate) fn conclude(&self, end: &[u8]) -> io::Result<()> {
        self.lock.write_all_at(end, 0)
    }

    /// Removes all but the lock and these files.
    pub(crate) fn tidy(&self, keep: &[&str]) -> io::Result<()> {
        tidy(&self.path, keep)
    }

    /// Removes the place: nobody came to live in it, or they are gone.
    pub(crate) fn remove(&self) {
        // What can't be removed now, the next command's sweep finds.
        let _ = remove(&self.path);
    }
}

/// Removes a place.
///
/// Not by recursion, except where nothing is mounted: in the eyes of a testbed's keeper the user's
/// files are below.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    gone(fs::remove_dir_all(path.join(STAGE)))?;
    tidy(path, &[])?;
    gone(fs::remove_file(path.join(LOCK)))?;
    gone(fs::remove_dir(path))
}

/// Removes all of a place but the lock and these files.
pub(crate) fn tidy(path: &Path, keep: &[&str]) -> io::Result<()> {
    remove_entries(&path.join(WORK), &[])?;
    remove_entries(path, &[&[LOCK], keep].concat())
}

/// Removes the files and the empty directories that lie directly in this one, but those to be kept.
fn remove_entries(directory: &Path, keep: &[&str]) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        if keep.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            gone(fs::remove_dir(entry.path()))?;
        } else {
            gone(fs::remove_file(entry.path()))?;
        }
    }
    Ok(())
}

/// Counts what is not there any more as removed: somebody else may have been faster.
pub(crate) fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Opens a file of a place. Whatever else somebody has put there, nobody waits for it, and nothing that a
/// symbolic link leads to is touched.
pub(crate) fn open_regular(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = options.mode(0o600).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::other("it is no regular file"))
}

/// Reads a file of a place.
///
/// # Errors
/// The file system's; it is no regular file, or longer than any that is written there.
pub(crate) fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path, OpenOptions::new().read(true))?.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// Opens a file of a place, or another lock, for writing; made if need be, for this user alone.
pub(crate) fn new_file(path: &Path) -> io::Result<File> {
    open_regular(path, OpenOptions::new().write(true).create(true).truncate(false))
}

/// The lock of a place.
pub(super) enum Lock {
    /// Somebody lives there.
    Held,
    /// Nobody does.
    Free(File),
    /// Whoever made the place was killed before there was one.
    Missing,
}

/// Looks at the lock in this file. Those who wait for its end share it.
pub(super) fn lock_at(path: &Path) -> io::Result<Lock> {
    let file = match open_regular(path, OpenOptions::new().read(true).write(true)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Lock::Missing),
        other => other?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Lock::Free(file)),
        Err(TryLockError::WouldBlock) => Ok(Lock::Held),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
