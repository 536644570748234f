//! The store: imported images, unpacked, for this user's runs in either half.
//!
//! ```text
//! DIRECTORY/               the user's alone, for an image may hold set-user-id programs
//!   .lock                  held while an image is put into place or taken away
//!   .staging/ID/           an import under way, or an image being removed; see `staging`
//!   NAME/                  an image, in the form of `Name::file_name`
//!     rootfs/              its root file system; nobody changes it
//!     config.json          an `ImageConfig`
//!     lease                locked, shared, by whoever uses the image
//! ```

mod error;
mod lease;
mod staging;

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::unistd::geteuid;

pub use self::error::StoreError;
pub use self::lease::{Lease, StoredImage};
pub(super) use self::staging::Staging;
use super::{ImageConfig, Name};
use crate::state::new_file;

const LOCK: &str = ".lock";
const ROOT: &str = "rootfs";
const CONFIG: &str = "config.json";
const LEASE: &str = "lease";

/// The images of a user.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
}

impl Store {
    /// Opens the caller's: `$XDG_DATA_HOME/duplex/images`, else `~/.local/share/duplex/images`. What
    /// killed commands have left is removed.
    ///
    /// # Errors
    /// There is no place for it, or others can write to it.
    pub fn open() -> Result<Self, StoreError> {
        let absolute = |name| {
            std::env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute())
        };
        let data = absolute("XDG_DATA_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
            .ok_or(StoreError::NoDirectory)?;
        Self::open_at(data.join("duplex/images"))
    }

    /// Opens the one in this directory, which need not be there.
    ///
    /// # Errors
    /// As of [`Store::open`].
    pub fn open_at(path: PathBuf) -> Result<Self, StoreError> {
        // Disks are known by the path without symbolic links.
        let store = Self { path: path.canonicalize().unwrap_or(path) };
        match fs::metadata(&store.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(store),
            Err(error) => return Err(StoreError::file("look at", &store.path)(error)),
            Ok(metadata) => {
                let distrust =
                    |reason| Err(StoreError::Untrusted { path: store.path.clone(), reason });
                if metadata.uid() != geteuid().as_raw() {
                    return distrust("it belongs to another user");
                }
                if metadata.mode() & 0o077 != 0 {
                    return distrust("others may enter it (its mode is not 0700)");
                }
            }
        }
        staging::sweep(&store)?;
        Ok(store)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The image of this name, if there is one.
    ///
    /// # Errors
    /// It can't be read.
    pub fn find(&self, name: &Name) -> Result<Option<StoredImage>, StoreError> {
        let directory = self.place(name);
        let path = directory.join(CONFIG);
        let config = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.and_then(|bytes| Ok(serde_json::from_slice(&bytes)?)),
        };
        let config: ImageConfig = config.map_err(StoreError::file("read", &path))?;
        Ok(Some(StoredImage { root: directory.join(ROOT), config, directory }))
    }

    /// All images, by name.
    ///
    /// # Errors
    /// The store, or one of them, can't be read.
    pub fn list(&self) -> Result<Vec<StoredImage>, StoreError> {
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(StoreError::file("read", &self.path))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(StoreError::file("read", &self.path))?;
            names.extend(entry.file_name().to_str().and_then(Name::from_file_name));
        }
        names.sort();
        // One that is removed just now is left out.
        names.iter().filter_map(|name| self.find(name).transpose()).collect()
    }

    /// Removes an image; returns where its root was.
    ///
    /// # Errors
    /// There is none, or somebody uses it.
    pub fn remove(&self, name: &Name) -> Result<PathBuf, StoreError> {
        let place = self.place(name);
        if !place.exists() {
            return Err(StoreError::None(name.clone()));
        }
        let staging = Staging::create(self)?;
        {
            let _guard = self.lock()?;
            let _unused = self.unused(name)?;
            let target = staging.image();
            fs::remove_dir_all(&target).map_err(StoreError::file("empty", &target))?;
            fs::rename(&place, &target).map_err(StoreError::file("take away", &place))?;
        }
        staging.remove()?;
        Ok(place.join(ROOT))
    }

    /// Puts what was staged into its place. All of it is on the disk before anybody sees it.
    pub(super) fn publish(
        &self,
        staging: Staging,
        config: ImageConfig,
        replace: bool,
    ) -> Result<StoredImage, StoreError> {
        let name = config.name.clone();
        let place = self.place(&name);
        let image = staging.image();
        let path = image.join(CONFIG);
        let write = || -> io::Result<()> {
            fs::write(&path, serde_json::to_vec_pretty(&config)?)?;
            Ok(nix::unistd::syncfs(File::open(&image)?)?)
        };
        write().map_err(StoreError::file("write", &path))?;
        {
            let _guard = self.lock()?;
            let renamed = if !place.exists() {
                fs::rename(&image, &place)
            } else if replace {
                let _unused = self.unused(&name)?;
                let exchange = RenameFlags::RENAME_EXCHANGE;
                renameat2(AT_FDCWD, &image, AT_FDCWD, &place, exchange).map_err(Into::into)
            } else {
                return Err(StoreError::Taken(name));
            };
            renamed.map_err(StoreError::file("put into place", &place))?;
        }
        staging.remove()?;
        Ok(StoredImage { root: place.join(ROOT), config, directory: place })
    }

    /// Makes sure that nobody uses an image, for as long as the returned file is open.
    fn unused(&self, name: &Name) -> Result<Option<File>, StoreError> {
        let path = self.place(name).join(LEASE);
        let file = match File::open(&path) {
            // Somebody has spoilt it; there is nothing to hold on to.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(StoreError::file("open", &path))?,
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse(name.clone())),
            Err(TryLockError::Error(error)) => Err(StoreError::file("lock", &path)(error)),
        }
    }

    fn place(&self, name: &Name) -> PathBuf {
        self.path.join(name.file_name())
    }

    /// Nobody else puts images into place or takes them away while this is held.
    fn lock(&self) -> Result<File, StoreError> {
        let path = self.path.join(LOCK);
        let lock = || -> io::Result<File> {
            let file = new_file(&path)?;
            file.lock()?;
            Ok(file)
        };
        lock().map_err(StoreError::file("lock", &path))
    }
}

fn make_private(path: &Path) -> Result<(), StoreError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(StoreError::file("create", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Process;

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open_at(directory.path().join("images")).unwrap();
        (directory, store)
    }

    fn config(name: &str) -> ImageConfig {
        ImageConfig {
            name: name.parse().unwrap(),
            process: Process::default(),
            source: "test".into(),
            form: "test".into(),
            digest: None,
            size: 0,
            created: 0,
        }
    }

    fn add(store: &Store, name: &str, replace: bool) -> Result<StoredImage, StoreError> {
        let staging = Staging::create(store)?;
        fs::write(staging.root().join("file"), name).unwrap();
        store.publish(staging, config(name), replace)
    }

    fn staged(store: &Store) -> usize {
        fs::read_dir(store.path().join(".staging")).unwrap().count()
    }

    #[test]
    fn what_is_put_in_is_found_listed_and_removed() {
        let (_directory, store) = store();
        assert!(store.list().unwrap().is_empty());
        for name in ["b:1", "a/x"] {
            add(&store, name, false).unwrap();
        }
        let names: Vec<_> = store.list().unwrap().into_iter().map(|i| i.config.name).collect();
        assert_eq!(names, ["a/x".parse().unwrap(), "b:1".parse().unwrap()]);
        let found = store.find(&names[0]).unwrap().unwrap();
        assert_eq!(fs::read(found.root.join("file")).unwrap(), b"a/x");
        assert!(matches!(add(&store, "a/x", false), Err(StoreError::Taken(_))));
        add(&store, "a/x", true).unwrap();
        store.remove(&names[0]).unwrap();
        assert!(store.find(&names[0]).unwrap().is_none() && !found.root.exists());
        assert!(matches!(store.remove(&names[0]), Err(StoreError::None(_))));
        assert_eq!(staged(&store), 0);
    }

    #[test]
    fn an_image_in_use_stays() {
        let (_directory, store) = store();
        let image = add(&store, "a", false).unwrap();
        let name = image.config.name.clone();
        let leases = [image.lease().unwrap(), image.lease().unwrap()];
        assert!(matches!(store.remove(&name), Err(StoreError::InUse(_))));
        assert!(matches!(add(&store, "a", true), Err(StoreError::InUse(_))));
        drop(leases);
        store.remove(&name).unwrap();
        assert!(matches!(image.lease(), Err(StoreError::Removed(_))));
        assert_eq!(staged(&store), 0);
    }

    #[test]
    fn opening_removes_what_a_killed_import_left_but_not_one_under_way() {
        let (_directory, store) = store();
        let living = Staging::create(&store).unwrap();
        let dead = Staging::create(&store).unwrap();
        dead.abandon();
        assert_eq!(staged(&store), 2);
        Store::open_at(store.path().to_path_buf()).unwrap();
        assert_eq!(staged(&store), 1);
        assert!(living.root().is_dir());
    }

    #[test]
    fn a_store_that_others_can_enter_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let refused = Store::open_at(directory.path().to_path_buf());
        assert!(matches!(refused, Err(StoreError::Untrusted { .. })));
    }
}
