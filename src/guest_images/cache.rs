//! The cache of guest images on disk.
//!
//! ```text
//! ~/.cache/duplex/
//!   KIND-RECIPE-INPUTS/   one finished entry, never changed again
//!   tmp/KIND.NNN/         an entry being made; renamed into place when it is complete
//!   locks/KIND            locked (flock) by whoever makes an entry of that kind
//!   apt/                  package lists of our own, where the system has none
//! ```
//!
//! RECIPE is a digest of what this program brings (scripts, configuration), INPUTS one of what came
//! from outside (package versions, compiler), as the maker wrote it to the entry's file `inputs`. A
//! new recipe makes a new entry; a newer package does not, so that a guest does not change from one
//! day to the next unasked. To start afresh, remove the directory.

use std::env;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::digest::Digest;
use super::error::Error;
use super::progress::Progress;
use crate::state::new_file;

/// The file in an entry where its maker lists what came from outside.
pub(crate) const INPUTS: &str = "inputs";

/// The directory where guest images are kept.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// What an entry is, and a digest of how this program makes it.
#[derive(Clone)]
pub(crate) struct Recipe {
    /// Names the entry and its lock, such as "debian-6.1".
    pub(crate) kind: String,
    /// Everything that this program brings.
    pub(crate) digest: Digest,
}

impl Cache {
    /// Opens the cache: `$DUPLEX_CACHE`, else `$XDG_CACHE_HOME/duplex`, else `~/.cache/duplex`,
    /// created with mode 0700. What a killed run left half made is removed.
    pub fn open() -> Result<Self, Error> {
        let from_env =
            |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let root = from_env("DUPLEX_CACHE")
            .or_else(|| from_env("XDG_CACHE_HOME").map(|base| base.join("duplex")))
            .or_else(|| from_env("HOME").map(|home| home.join(".cache/duplex")))
            .ok_or(Error::NoCacheDirectory)?;
        Self::open_at(root)
    }

    /// Opens the cache in the directory `root`, creating it if need be.
    pub fn open_at(root: PathBuf) -> Result<Self, Error> {
        make_private_dir(&root)?;
        let metadata = fs::metadata(&root).map_err(Error::file("look at", &root))?;
        let distrust = |reason| Err(Error::UntrustedCache { path: root.clone(), reason });
        // Root may use a user's cache (sudo); the other way round it is readable at best.
        if metadata.mode() & 0o022 != 0 {
            return distrust("others can write to it");
        }
        let user = nix::unistd::geteuid();
        if !user.is_root() && metadata.uid() != user.as_raw() && metadata.uid() != 0 {
            return distrust("it belongs to another user");
        }
        let cache = Self { root };
        cache.remove_leftovers();
        Ok(cache)
    }

    /// The directory it is in.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where scripts keep package lists of their own.
    pub(crate) fn apt_lists(&self) -> PathBuf {
        self.root.join("apt")
    }

    /// The finished entry of this recipe, if there is one.
    pub(crate) fn find(&self, recipe: Recipe) -> Option<PathBuf> {
        self.find_named(&recipe.name())
    }

    fn find_named(&self, name: &str) -> Option<PathBuf> {
        let prefix = format!("{name}-");
        let entries = fs::read_dir(&self.root).ok()?;
        entries
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
            .map(|entry| entry.path())
            .max()
    }

    /// The entry of this recipe: the one that is there, or a new one that `make` fills. `make` gets
    /// an empty directory; whatever it returns an error for is removed. When another process is
    /// making the same kind, its result is waited for.
    pub(crate) fn entry<E: From<Error>>(
        &self,
        recipe: Recipe,
        progress: &Progress,
        make: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, E> {
        let kind = recipe.kind.clone();
        let name = recipe.name();
        if let Some(found) = self.find_named(&name) {
            return Ok(found);
        }
        let _lock = self.lock(&kind, progress)?;
        if let Some(found) = self.find_named(&name) {
            return Ok(found);
        }
        self.remove_unfinished(&kind);

        let unfinished = self.unfinished(&kind);
        make_private_dir(&unfinished)?;
        let made = make(&unfinished).and_then(|()| {
            let inputs = fs::read(unfinished.join(INPUTS)).unwrap_or_default();
            let path = self.root.join(format!("{name}-{}", Digest::new().part(inputs).name()));
            fs::rename(&unfinished, &path).map_err(Error::file("put into place", &path))?;
            Ok(path)
        });
        if made.is_err() {
            self.remove_unfinished(&kind);
        }
        made
    }

    /// Removes the entries of this kind but for one, and for those that are younger than `age`.
    ///
    /// Whoever has a file of theirs open keeps it.
    pub(crate) fn keep_only(&self, kind: &str, path: &Path, age: Duration) {
        let Ok(entries) = fs::read_dir(&self.root) else { return };
        let prefix = format!("{kind}-");
        let is_young = |entry: &fs::DirEntry| {
            let made = entry.metadata().and_then(|metadata| metadata.modified());
            made.is_ok_and(|made| made.elapsed().is_ok_and(|elapsed| elapsed < age))
        };
        for entry in entries.filter_map(Result::ok) {
            let of_kind = entry.file_name().to_string_lossy().starts_with(&prefix);
            if of_kind
                && entry.path() != path
                && !is_young(&entry)
                && let Err(error) = fs::remove_dir_all(entry.path())
            {
                log::warn!("cannot remove {}: {error}; remove it by hand", entry.path().display());
            }
        }
    }

    fn lock_file(&self, kind: &str) -> Result<File, Error> {
        let dir = self.root.join("locks");
        make_private_dir(&dir)?;
        let path = dir.join(kind);
        new_file(&path).map_err(Error::file("create", &path))
    }

    fn lock(&self, kind: &str, progress: &Progress) -> Result<Flock<File>, Error> {
        let failed =
            |errno: Errno| Error::file("lock", &self.root.join("locks").join(kind))(errno.into());
        let file = match Flock::lock(self.lock_file(kind)?, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((file, Errno::EWOULDBLOCK)) => file,
            Err((_, errno)) => return Err(failed(errno)),
        };
        progress.step("waiting for another duplex that is at it");
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| failed(errno))
    }

    /// Where an entry of this kind is made. Only the holder of the kind's lock makes one, so one
    /// name is enough, and what is found there with the lock held is a leftover.
    fn unfinished(&self, kind: &str) -> PathBuf {
        self.root.join("tmp").join(kind)
    }

    fn remove_unfinished(&self, kind: &str) {
        let path = self.unfinished(kind);
        if let Err(error) = fs::remove_dir_all(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            log::warn!("cannot remove {}: {error}; remove it by hand", path.display());
        }
    }

    /// Removes what killed runs left in `tmp`. A kind that is locked is being made right now. A cache
    /// that cannot be written to is left as it is: reading it is still worth while.
    fn remove_leftovers(&self) {
        let Ok(entries) = fs::read_dir(self.root.join("tmp")) else { return };
        for entry in entries.filter_map(Result::ok) {
            let kind = entry.file_name().to_string_lossy().into_owned();
            let Ok(file) = self.lock_file(&kind) else { continue };
            if Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok_and(|_lock| {
                self.remove_unfinished(&kind);
                true
            }) {
                log::debug!("removed the half-made {kind} of a killed run");
            }
        }
    }
}

impl Recipe {
    fn name(self) -> String {
        format!("{}-{}", self.kind, self.digest.name())
    }
}

fn make_private_dir(path: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::file("create", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(text: &str) -> Recipe {
        Recipe { kind: "thing".to_string(), digest: Digest::new().part(text) }
    }

    fn progress() -> Progress {
        Progress::new("testing")
    }

    #[test]
    fn an_entry_is_made_once_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open_at(dir.path().join("cache")).unwrap();
        assert!(cache.find(recipe("a")).is_none());
        let made = cache
            .entry::<Error>(recipe("a"), &progress(), |dir| {
                fs::write(dir.join("file"), "content").unwrap();
                Ok(())
            })
            .unwrap();
        let again =
            cache.entry::<Error>(recipe("a"), &progress(), |_| panic!("made twice")).unwrap();
        assert_eq!(made, again);
        assert_eq!(cache.find(recipe("a")), Some(made.clone()));
        assert!(cache.find(recipe("b")).is_none());
        assert_eq!(fs::read_to_string(made.join("file")).unwrap(), "content");
        assert_eq!(fs::metadata(cache.root()).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn inputs_from_outside_are_part_of_the_name() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open_at(dir.path().join("cache")).unwrap();
        let make = |version: &str| {
            cache
                .entry::<Error>(recipe("a"), &progress(), |dir| {
                    fs::write(dir.join(INPUTS), version).unwrap();
                    Ok(())
                })
                .unwrap()
        };
        let first = make("1");
        fs::remove_dir_all(&first).unwrap();
        assert_ne!(first, make("2"));
    }

    #[test]
    fn a_failure_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open_at(dir.path().join("cache")).unwrap();
        let result = cache.entry::<Error>(recipe("a"), &progress(), |dir| {
            fs::write(dir.join("half"), "").unwrap();
            Err(Error::NoCacheDirectory)
        });
        assert!(result.is_err());
        assert!(cache.find(recipe("a")).is_none());
        assert!(!cache.unfinished("thing").exists());
    }

    #[test]
    fn opening_removes_what_a_killed_run_left_but_not_what_is_being_made() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("cache");
        let cache = Cache::open_at(root.clone()).unwrap();
        for kind in ["killed", "running"] {
            make_private_dir(&cache.unfinished(kind)).unwrap();
        }
        let _lock = cache.lock("running", &progress()).unwrap();
        Cache::open_at(root).unwrap();
        assert!(!cache.unfinished("killed").exists());
        assert!(cache.unfinished("running").exists());
    }

    #[test]
    fn a_cache_that_others_can_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = Cache::open_at(dir.path().to_path_buf()).unwrap_err();
        assert!(matches!(error, Error::UntrustedCache { .. }), "{error}");
    }
}
