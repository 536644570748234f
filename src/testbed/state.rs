//! Where a user's testbeds are, and how to tell a live one from a leftover.
//!
//! ```text
//! DIRECTORY/               ours alone; see `StateDirectory::open`
//!   lock                   held while an instance is made or removed
//!   INSTANCE/              "normal", "counting", or "once-…" for a single command
//!     lock                 held by the keeper for as long as it lives
//!     control              the socket on which it answers
//!     work/                where it mounts things, in a namespace of its own
//! ```
//!
//! A lock ends with the process that holds it, however that ends, and unlike a process id it never
//! comes to mean another process. An instance whose lock is free is a leftover and is removed.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use super::control::{Channel, listen_for_messages};
use super::error::Error;
use super::model::Clock;
use super::random::random_bytes;

/// The control socket's name.
const CONTROL: &str = "control";
const LOCK: &str = "lock";
/// Where copies are staged. Nothing is ever mounted below it.
const STAGE: &str = "stage";

/// The directory that holds a user's testbeds.
#[derive(Debug)]
pub(super) struct StateDirectory {
    path: PathBuf,
}

/// What a testbed is found under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// Started to stay: one of each kind.
    Lasting(Clock),
    /// For a single command.
    Once,
}

impl StateDirectory {
    /// Opens the caller's: `$XDG_RUNTIME_DIR/duplex`, else /run/duplex for root and
    /// /tmp/duplex-UID for others. It is made if need be.
    ///
    /// # Errors
    /// [`Error::State`] when it can't be made, or is not the caller's alone: in a shared /tmp
    /// anybody may have put something there.
    pub(super) fn open() -> Result<Self, Error> {
        let path = Self::place();
        let failed = |reason: String| Error::State { path: path.clone(), reason };
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
        let directory = Self { path };
        directory.sweep()?;
        Ok(directory)
    }

    fn place() -> PathBuf {
        let uid = geteuid();
        let ours = |path: &PathBuf| fs::metadata(path).is_ok_and(|m| m.uid() == uid.as_raw());
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let runtime = runtime.filter(|path| path.is_absolute() && ours(path));
        let system = uid.is_root().then(|| PathBuf::from("/run"));
        match runtime.or_else(|| system.filter(|path| ours(path))) {
            Some(parent) => parent.join("duplex"),
            None => PathBuf::from(format!("/tmp/duplex-{uid}")),
        }
    }

    /// Connects to the lasting testbed of this kind, if there is one.
    pub(super) fn connect(&self, clock: Clock) -> Result<Option<Channel>, Error> {
        let _guard = self.lock()?;
        let Some(instance) = self.open_instance(Name::Lasting(clock).directory())? else {
            return Ok(None);
        };
        // A keeper on its way out answers no more; it removes its directory itself.
        Ok(Channel::connect(instance.as_fd(), CONTROL).ok())
    }

    /// The open directory of an instance, for waiting until its keeper has ended.
    pub(super) fn lock_of(&self, clock: Clock) -> Result<Option<File>, Error> {
        let path = self.path.join(Name::Lasting(clock).directory()).join(LOCK);
        match File::open(&path) {
            Ok(lock) => Ok(Some(lock)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Makes the place for a new testbed; `None` when one of that name is there already.
    pub(super) fn create(&self, name: Name) -> Result<Option<Instance>, Error> {
        let _guard = self.lock()?;
        let path = self.path.join(match name {
            Name::Once => format!(
                "once-{:016x}",
                u64::from_le_bytes(random_bytes().map_err(|error| self.failed(&error))?)
            ),
            Name::Lasting(_) => name.directory().to_owned(),
        });
        let make = || -> io::Result<Option<Instance>> {
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
                other => other?,
            }
            let lock = new_file(&path.join(LOCK))?;
            lock.lock()?;
            fs::create_dir(path.join("work"))?;
            let directory = File::open(&path)?;
            let listener = listen_for_messages(directory.as_fd(), CONTROL)?;
            Ok(Some(Instance { path: path.clone(), directory, lock, listener }))
        };
        make().map_err(|error| self.failed(&error))
    }

    /// Removes what testbeds that were killed have left behind.
    pub(super) fn sweep(&self) -> Result<(), Error> {
        let _guard = self.lock()?;
        let sweep = || -> io::Result<()> {
            for entry in fs::read_dir(&self.path)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() && !is_locked(&entry.path().join(LOCK))? {
                    remove(&entry.path())?;
                }
            }
            Ok(())
        };
        sweep().map_err(|error| self.failed(&error))
    }

    /// Nobody else makes or removes instances while this is held.
    fn lock(&self) -> Result<File, Error> {
        let lock = || -> io::Result<File> {
            let file = new_file(&self.path.join(LOCK))?;
            file.lock()?;
            Ok(file)
        };
        lock().map_err(|error| self.failed(&error))
    }

    fn open_instance(&self, name: &str) -> Result<Option<File>, Error> {
        match File::open(self.path.join(name)) {
            Ok(directory) => Ok(Some(directory)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn failed(&self, error: &io::Error) -> Error {
        Error::State { path: self.path.clone(), reason: error.to_string() }
    }
}

impl Name {
    fn directory(self) -> &'static str {
        match self {
            Self::Lasting(Clock::Wall) => "normal",
            Self::Lasting(Clock::Instructions) => "counting",
            Self::Once => "once",
        }
    }
}

/// The place of one testbed that is about to start.
#[derive(Debug)]
pub(super) struct Instance {
    /// Its directory.
    pub(super) path: PathBuf,
    directory: File,
    /// Held; the keeper inherits it.
    pub(super) lock: File,
    /// Answered by the keeper.
    pub(super) listener: OwnedFd,
}

impl Instance {
    /// Connects to the keeper; possible before it is there to answer.
    pub(super) fn connect(&self) -> io::Result<Channel> {
        Channel::connect(self.directory.as_fd(), CONTROL)
    }

    /// A place for files on their way into a disk image.
    pub(super) fn stage(&self) -> PathBuf {
        self.path.join(STAGE)
    }

    /// Removes the place: no keeper came to live in it, or it has ended.
    pub(super) fn remove(&self) {
        // What can't be removed now, the next command's sweep finds.
        let _ = remove(&self.path);
    }
}

/// Removes an instance's directory.
///
/// Not by recursion, except where nothing is mounted: in the keeper's own eyes the user's files are
/// below.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    gone(fs::remove_dir_all(path.join(STAGE)))?;
    remove_entries(&path.join("work"))?;
    remove_entries(path)?;
    gone(fs::remove_dir(path))
}

/// Removes the files and the empty directories that lie directly in this one.
fn remove_entries(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            gone(fs::remove_dir(entry.path()))?;
        } else {
            gone(fs::remove_file(entry.path()))?;
        }
    }
    Ok(())
}

/// Somebody else may have been faster.
fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Whether somebody holds the lock in this file. A file that is not there is held by nobody.
fn is_locked(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    match file.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> (tempfile::TempDir, StateDirectory) {
        let place = tempfile::tempdir().unwrap();
        let state = StateDirectory { path: place.path().to_owned() };
        (place, state)
    }

    #[test]
    fn a_leftover_is_swept_and_a_live_one_is_not() {
        let (place, state) = directory();
        let live = state.create(Name::Lasting(Clock::Wall)).unwrap().unwrap();
        let dead = state.create(Name::Lasting(Clock::Instructions)).unwrap().unwrap();
        drop(dead);
        state.sweep().unwrap();
        assert!(live.path.exists() && !place.path().join("counting").exists());
        assert!(state.connect(Clock::Wall).unwrap().is_some());
        assert!(state.connect(Clock::Instructions).unwrap().is_none());
    }

    #[test]
    fn there_is_one_of_a_name() {
        let (_place, state) = directory();
        let first = state.create(Name::Lasting(Clock::Wall)).unwrap().unwrap();
        assert!(state.create(Name::Lasting(Clock::Wall)).unwrap().is_none());
        first.remove();
        assert!(state.create(Name::Lasting(Clock::Wall)).unwrap().is_some());
    }
}
