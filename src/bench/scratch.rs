//! A directory for one run, gone when the run has ended, however it did: what a killed run has left, the next
//! one removes.

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{geteuid, mkdtemp};

/// What the directories of all runs are called, before random letters.
const NAME: &str = "duplex-bench-";

/// Its lock, held as long as the run goes on.
const LOCK: &str = "lock";

/// The directory.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Makes one in `parent`, which others may reach into: the users of containers look for their root there.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(parent: &Path) -> io::Result<Self> {
        sweep(parent);
        let path = mkdtemp(&parent.join(format!("{NAME}XXXXXX")))?;
        let lock = File::create_new(path.join(LOCK))?;
        lock.try_lock()?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            log::warn!("cannot remove {}: {error}; remove it by hand", self.path.display());
        }
    }
}

/// Removes what killed runs of this user have left.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.filter_map(Result::ok) {
        let ours = entry.file_name().to_string_lossy().starts_with(NAME)
            && entry
                .metadata()
                .is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == geteuid().as_raw());
        // One without a lock has just been made.
        let Some(lock) = ours.then(|| File::open(entry.path().join(LOCK)).ok()).flatten() else {
            continue;
        };
        match lock.try_lock() {
            Ok(()) => drop(fs::remove_dir_all(entry.path())),
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_run_left_goes_and_what_is_in_use_stays() {
        let parent = tempfile::tempdir().unwrap();
        let used = Scratch::new(parent.path()).unwrap();
        let left = parent.path().join("duplex-bench-killed");
        fs::create_dir(&left).unwrap();
        fs::write(left.join(LOCK), "").unwrap();
        let other = parent.path().join("somebody-elses");
        fs::create_dir(&other).unwrap();
        let second = Scratch::new(parent.path()).unwrap();
        assert!(used.path().exists() && other.exists() && !left.exists());
        let path = second.path().to_owned();
        drop(second);
        assert!(!path.exists());
    }
}
