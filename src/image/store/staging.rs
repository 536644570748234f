//! Where an image is while it is made or taken away: a directory that nobody looks into, with a lock
//! that ends with its process.
//!
//! ```text
//! .staging/ID/
//!   lock            held for as long as somebody works here
//!   image/          what is to become the image, or was it
//! ```

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::mem;
use std::path::{Path, PathBuf};

use super::{LEASE, ROOT, Store, StoreError, make_private};
use crate::random::random_bytes;
use crate::state::new_file;

const DIRECTORY: &str = ".staging";
const LOCK: &str = "lock";
const IMAGE: &str = "image";

/// One such directory; removed when this is dropped.
#[derive(Debug)]
pub(in crate::image) struct Staging {
    path: PathBuf,
    lock: Option<File>,
}

impl Staging {
    /// Makes one, with an empty root.
    pub(in crate::image) fn create(store: &Store) -> Result<Self, StoreError> {
        make_private(&store.path)?;
        let parent = store.path.join(DIRECTORY);
        make_private(&parent)?;
        let random = random_bytes().map_err(StoreError::file("name a place in", &parent))?;
        let path = parent.join(format!("{:016x}", u64::from_le_bytes(random)));
        let make = || -> io::Result<File> {
            fs::create_dir(&path)?;
            let lock = new_file(&path.join(LOCK))?;
            lock.lock()?;
            Ok(lock)
        };
        let lock = {
            // Until it has its lock, a sweep would take it for a leftover.
            let _guard = store.lock()?;
            make().map_err(StoreError::file("create", &path))?
        };
        let staging = Self { path, lock: Some(lock) };
        make_private(&staging.root())?;
        let lease = staging.image().join(LEASE);
        File::create_new(&lease).map_err(StoreError::file("create", &lease))?;
        Ok(staging)
    }

    /// What becomes the image.
    pub(in crate::image) fn image(&self) -> PathBuf {
        self.path.join(IMAGE)
    }

    /// What becomes its root file system.
    pub(in crate::image) fn root(&self) -> PathBuf {
        self.image().join(ROOT)
    }

    /// A place for files that are needed meanwhile.
    pub(in crate::image) fn scratch(&self) -> &Path {
        &self.path
    }

    /// Removes it.
    pub(super) fn remove(mut self) -> Result<(), StoreError> {
        let path = mem::take(&mut self.path);
        remove(&path).map_err(StoreError::file("remove", &path))
    }

    /// Leaves it behind, as a killed process does.
    #[cfg(test)]
    pub(super) fn abandon(mut self) {
        self.path = PathBuf::new();
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What can't be removed now, the next command's sweep finds.
        if self.lock.take().is_some() && !self.path.as_os_str().is_empty() {
            let _ = remove(&self.path);
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    // The lock last: without it this could pass for one that is just being made.
    match fs::remove_dir_all(path.join(IMAGE)) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::remove_dir_all(path)
}

/// Removes what killed processes have left.
pub(super) fn sweep(store: &Store) -> Result<(), StoreError> {
    let directory = store.path.join(DIRECTORY);
    let is_empty = match fs::read_dir(&directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => true,
        other => other.map_err(StoreError::file("read", &directory))?.next().is_none(),
    };
    if is_empty {
        return Ok(());
    }
    let _guard = store.lock()?;
    let entries = fs::read_dir(&directory).map_err(StoreError::file("read", &directory))?;
    for entry in entries {
        let path = entry.map_err(StoreError::file("read", &directory))?.path();
        let lock = match File::open(path.join(LOCK)) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            other => Some(other.map_err(StoreError::file("open", &path))?),
        };
        match lock.as_ref().map_or(Ok(()), File::try_lock) {
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(StoreError::file("lock", &path)(error)),
            Ok(()) => match remove(&path) {
                // Its owner has just removed it.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                other => other.map_err(StoreError::file("remove", &path))?,
            },
        }
    }
    Ok(())
}
