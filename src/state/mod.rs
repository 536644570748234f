//! What of this user's runs now, on disk: a directory for each testbed and each guest, and how to tell
//! a live one from a leftover.
//!
//! ```text
//! DIRECTORY/               ours alone; see `StateDirectory::open`
//!   lock                   held while a place is made or removed
//!   NAME/                  a place: a testbed's or a guest's
//!     lock                 held for as long as it lives; then says how it ended, if it is to be told
//!     …                    its sockets and files
//!     work/                where a testbed mounts things, in a namespace of its own
//!     stage/               where copies are staged; nothing is ever mounted below it
//! ```
//!
//! A lock ends with the process that holds it, however that ends, and unlike a process id it never
//! comes to mean another process. A place whose lock is free and says nothing is a leftover.

mod place;

use std::fs::{self, DirBuilder, DirEntry, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use self::place::{LOCK, Lock, lock_at};
pub(crate) use self::place::{Place, gone, new_file, open_regular, read_file, remove, tidy};

/// What the places of instances begin with. Others leave them alone: what belongs to one outside of
/// its place, only `instances` knows how to remove.
pub(crate) const INSTANCE: &str = "run-";

/// The directory can't be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "the state directory {} can't be used: {reason}; remove it, or point XDG_RUNTIME_DIR at a \
     directory of your own", path.display()
)]
pub struct Error {
    /// The directory.
    path: PathBuf,
    /// What is wrong with it.
    reason: String,
}

/// The directory that holds the places of a user.
#[derive(Debug)]
pub(crate) struct StateDirectory {
    path: PathBuf,
}

impl StateDirectory {
    /// Opens the caller's: `$XDG_RUNTIME_DIR/duplex`, else /run/duplex for root and
    /// /tmp/duplex-UID for others. It is made if need be, and leftovers of testbeds are removed.
    ///
    /// # Errors
    /// When it can't be made, or is not the caller's alone: in a shared /tmp anybody may have put
    /// something there.
    pub(crate) fn open() -> Result<Self, Error> {
        let directory = Self::open_unswept()?;
        directory.sweep()?;
        Ok(directory)
    }

    /// The same, for one who knows what to do about an instance that was killed: `clear` says whether
    /// its place can be removed.
    pub(crate) fn open_clearing(
        clear: impl Fn(&Leftover<'_>) -> io::Result<bool>,
    ) -> Result<Self, Error> {
        let directory = Self::open_unswept()?;
        directory.sweep_where(|left| Ok(!left.is_instance || clear(left)?))?;
        Ok(directory)
    }

    fn open_unswept() -> Result<Self, Error> {
        let path = Self::place();
        let failed = |reason: String| Error { path: path.clone(), reason };
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(failed(error.to_string()));
            }
            _ => {}
        }
        let metadata = fs::symlink_metadata(&path).map_err(|error| failed(error.to_string()))?;
        if !metadata.is_dir() {
            return Err(failed("it is not a directory".into()));
        }
        if metadata.uid() != geteuid().as_raw() {
            return Err(failed(format!("it belongs to user {}", metadata.uid())));
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(failed("others may enter it (its mode is not 0700)".into()));
        }
        Ok(Self { path })
    }

    /// One at this path, for tests.
    #[cfg(test)]
    pub(crate) fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    fn place() -> PathBuf {
        let uid = geteuid();
        let ours = |path: &PathBuf| fs::metadata(path).is_ok_and(|m| m.uid() == uid.as_raw());
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let runtime = runtime.filter(|path| path.is_absolute() && ours(path));
        // In the testbed that name is taken: others may enter it, for the program that is there.
        let system = uid.is_root().then(|| PathBuf::from("/run"));
        let system = system.filter(|path| !path.join("duplex/bin").exists());
        match runtime.or_else(|| system.filter(|path| ours(path))) {
            Some(parent) => parent.join("duplex"),
            None => PathBuf::from(format!("/tmp/duplex-{uid}")),
        }
    }

    /// Makes a place; `None` when one of that name is there already. `fill` puts into it what must be
    /// there before anybody else sees it.
    pub(crate) fn create<T>(
        &self,
        name: &str,
        fill: impl FnOnce(&Place) -> io::Result<T>,
    ) -> Result<Option<(Place, T)>, Error> {
        let _guard = self.lock()?;
        let path = self.path.join(name);
        let make = || -> io::Result<Option<(Place, T)>> {
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
                other => other?,
            }
            let lock = new_file(&path.join(LOCK))?;
            lock.lock()?;
            let directory = File::open(&path)?;
            let place = Place { path: path.clone(), directory, lock };
            let filled = fill(&place)?;
            Ok(Some((place, filled)))
        };
        make().map_err(|error| self.failed(&error))
    }

    /// The open directory of a place, if there is one.
    pub(crate) fn find(&self, name: &str) -> Result<Option<File>, Error> {
        let _guard = self.lock()?;
        self.opened(&self.path.join(name))
    }

    /// The lock of a place, for waiting until it is free.
    pub(crate) fn lock_of(&self, name: &str) -> Result<Option<File>, Error> {
        let path = self.path.join(name).join(LOCK);
        match open_regular(&path, OpenOptions::new().read(true)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// The names of all places.
    pub(crate) fn names(&self) -> Result<Vec<String>, Error> {
        let names = || -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in fs::read_dir(&self.path)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    names.extend(entry.file_name().into_string());
                }
            }
            names.sort();
            Ok(names)
        };
        names().map_err(|error| self.failed(&error))
    }

    /// Removes what those that were killed have left behind.
    pub(crate) fn sweep(&self) -> Result<(), Error> {
        self.sweep_where(|left| Ok(!left.is_instance))
    }

    /// Removes it where `clear` says so. One that cannot be removed does not keep others from it, or
    /// anybody from going on.
    fn sweep_where(&self, clear: impl Fn(&Leftover<'_>) -> io::Result<bool>) -> Result<(), Error> {
        let _guard = self.lock()?;
        let entries = fs::read_dir(&self.path).map_err(|error| self.failed(&error))?;
        for entry in entries {
            let entry = entry.map_err(|error| self.failed(&error))?;
            if let Err(error) = sweep_entry(&entry, &clear) {
                log::warn!("{} is left as it is: {error}", entry.path().display());
            }
        }
        Ok(())
    }

    /// Removes the place of one that has ended, and was to be kept. False when it is gone already, or
    /// somebody lives there.
    pub(crate) fn discard(&self, name: &str) -> Result<bool, Error> {
        let _guard = self.lock()?;
        let path = self.path.join(name);
        let discard = || -> io::Result<bool> {
            let ended = matches!(lock_at(&path.join(LOCK))?, Lock::Free(_));
            if ended {
                remove(&path)?;
            }
            Ok(ended)
        };
        discard().map_err(|error| self.failed(&error))
    }

    /// Nobody else makes or removes places while this is held.
    fn lock(&self) -> Result<File, Error> {
        let lock = || -> io::Result<File> {
            let file = new_file(&self.path.join(LOCK))?;
            file.lock()?;
            Ok(file)
        };
        lock().map_err(|error| self.failed(&error))
    }

    fn opened(&self, path: &Path) -> Result<Option<File>, Error> {
        match File::open(path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// An error about this directory.
    pub(crate) fn failed(&self, error: &io::Error) -> Error {
        Error { path: self.path.clone(), reason: error.to_string() }
    }
}

/// The place of one whose process is gone.
#[derive(Debug)]
pub(crate) struct Leftover<'a> {
    /// Its directory.
    pub(crate) path: &'a Path,
    /// Its lock, free; none where it was killed before there was one.
    pub(crate) lock: Option<File>,
    /// Whether it is an instance's.
    is_instance: bool,
}

fn sweep_entry(
    entry: &DirEntry,
    clear: &impl Fn(&Leftover<'_>) -> io::Result<bool>,
) -> io::Result<()> {
    let path = entry.path();
    if !entry.file_type()?.is_dir() {
        return Ok(());
    }
    let lock = match lock_at(&path.join(LOCK))? {
        Lock::Held => return Ok(()),
        Lock::Free(lock) => Some(lock),
        Lock::Missing => None,
    };
    let is_instance = entry.file_name().as_bytes().starts_with(INSTANCE.as_bytes());
    if clear(&Leftover { path: &path, lock, is_instance })? {
        remove(&path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_leftover_is_swept_and_a_live_one_is_not() {
        let place = tempfile::tempdir().unwrap();
        let state = StateDirectory::at(place.path());
        let live = state.create("live", |_| Ok(())).unwrap().unwrap();
        let dead = state.create("dead", Place::make_work).unwrap().unwrap();
        drop(dead);
        assert_eq!(state.names().unwrap(), ["dead", "live"]);
        state.sweep().unwrap();
        assert_eq!(state.names().unwrap(), ["live"]);
        assert!(state.find("live").unwrap().is_some() && state.find("dead").unwrap().is_none());
        drop(live);
    }

    #[test]
    fn there_is_one_of_a_name() {
        let place = tempfile::tempdir().unwrap();
        let state = StateDirectory::at(place.path());
        let (first, ()) = state.create("one", |_| Ok(())).unwrap().unwrap();
        assert!(state.create("one", |_| Ok(())).unwrap().is_none());
        first.remove();
        assert!(state.create("one", |_| Ok(())).unwrap().is_some());
    }

    #[test]
    fn nothing_outside_is_touched_through_a_link() {
        let (place, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let precious = outside.path().join("precious");
        fs::write(&precious, "all").unwrap();
        let dead = place.path().join("run-dead");
        fs::create_dir(&dead).unwrap();
        symlink(&precious, dead.join(LOCK)).unwrap();
        let asked = Cell::new(false);
        let state = StateDirectory { path: place.path().to_owned() };
        state.sweep_where(|_| Ok(asked.replace(true))).unwrap();
        assert!(!asked.get() && state.lock_of("run-dead").is_err());
        fs::remove_file(place.path().join(LOCK)).unwrap();
        symlink(&precious, place.path().join(LOCK)).unwrap();
        assert!(state.sweep().is_err());
        assert_eq!(fs::read(&precious).unwrap(), b"all");
    }
}
