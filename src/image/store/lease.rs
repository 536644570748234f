//! An image of the store, and its use: nobody removes it meanwhile.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{LEASE, StoreError};
use crate::image::ImageConfig;

/// An image of the store.
#[derive(Clone, Debug)]
pub struct StoredImage {
    /// Its root file system, which nobody may change.
    pub root: PathBuf,
    /// What it says about itself.
    pub config: ImageConfig,
    pub(super) directory: PathBuf,
}

impl StoredImage {
    /// Keeps the image from being removed for as long as the lease is held, and by whoever inherits it.
    ///
    /// # Errors
    /// It has been removed since it was found.
    pub fn lease(&self) -> Result<Lease, StoreError> {
        Lease::take(&self.directory)
    }

    /// Where it is in the store: what another process takes a [`Lease`] of.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

/// An image is in use: a shared flock(2) on a file of its, which ends with its holders.
#[derive(Debug)]
pub struct Lease {
    _file: File,
}

impl Lease {
    /// Takes a lease of the image in this directory of a store.
    ///
    /// # Errors
    /// It has been removed.
    pub fn take(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(LEASE);
        let take = || -> io::Result<Option<File>> {
            let file = File::open(&path)?;
            file.lock_shared()?;
            // Whoever removes it holds the lock until it is out of the way.
            let same = fs::metadata(&path)?.ino() == file.metadata()?.ino();
            Ok(same.then_some(file))
        };
        match take() {
            Ok(Some(file)) => Ok(Lease { _file: file }),
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(StoreError::file("lock", &path)(error))
            }
            _ => Err(StoreError::Removed(directory.to_path_buf())),
        }
    }
}
