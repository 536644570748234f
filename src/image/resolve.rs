//! What a command line calls an image: a directory, or an image of the store.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use super::{ImageConfig, Name, Store, StoreError, StoredImage};
use crate::workload::Process;

/// There is no such image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// What looks like a path leads nowhere.
    #[error(
        "image {}: {reason}; name a directory with a root file system, or an image that was imported \
         (`duplex image ls`)", path.display()
    )]
    NoDirectory {
        /// As given.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Neither.
    #[error(
        "there is no image called {0}, and no such directory: `duplex image import` makes one, \
         `duplex image ls` lists them"
    )]
    None(Name),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An image that was found.
#[derive(Clone, Debug)]
pub struct ResolvedImage {
    /// Its root file system.
    pub root: PathBuf,
    /// Of what the store has, the rest.
    pub stored: Option<StoredImage>,
}

impl ResolvedImage {
    /// What the image says about the command; a directory says nothing.
    pub fn process(&self) -> Process {
        self.config().map(|config| config.process.clone()).unwrap_or_default()
    }

    /// What is kept of an image of the store.
    pub fn config(&self) -> Option<&ImageConfig> {
        self.stored.as_ref().map(|stored| &stored.config)
    }
}

/// Finds an image: a directory of this path; else, unless only a path can begin so (with `/` or `.`),
/// an image of the caller's store.
///
/// # Errors
/// There is neither.
pub fn resolve(text: &OsStr) -> Result<ResolvedImage, ResolveError> {
    resolve_in(text, Store::open)
}

fn resolve_in(
    text: &OsStr,
    store: impl FnOnce() -> Result<Store, StoreError>,
) -> Result<ResolvedImage, ResolveError> {
    let path = Path::new(text);
    let directory = path.canonicalize().and_then(|root| match root.is_dir() {
        true => Ok(root),
        false => Err(io::Error::other("it is no directory")),
    });
    let reason = match directory {
        Ok(root) => return Ok(ResolvedImage { root, stored: None }),
        Err(error) => error.to_string(),
    };
    let Some(name) = text.to_str().and_then(|text| text.parse::<Name>().ok()) else {
        return Err(ResolveError::NoDirectory { path: path.to_path_buf(), reason });
    };
    match store()?.find(&name)? {
        Some(stored) => Ok(ResolvedImage { root: stored.root.clone(), stored: Some(stored) }),
        None if name.as_str().contains('/') => {
            Err(ResolveError::NoDirectory { path: path.to_path_buf(), reason })
        }
        None => Err(ResolveError::None(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::import::{Limits, Request};

    #[test]
    fn a_directory_comes_before_an_image_of_the_store() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("root");
        std::fs::create_dir_all(root.join("bin")).unwrap();
        let store = Store::open_at(place.path().join("store")).unwrap();
        let request = Request {
            source: root.clone(),
            name: Some("lib/a:1".parse().unwrap()),
            reference: None,
            replace: false,
            absolute_names: false,
            limits: Limits::default(),
        };
        store.import(&request).unwrap();
        let find = |text: &OsStr| resolve_in(text, || Ok(store.clone()));
        let found = find(root.as_os_str()).unwrap();
        assert!(found.root == root.canonicalize().unwrap() && found.config().is_none());
        let found = find("lib/a:1".as_ref()).unwrap();
        assert!(found.root.join("bin").is_dir());
        assert_eq!(found.config().unwrap().form, "directory");
        assert_eq!(found.process(), Process::default());

        let message = |text: &str| find(text.as_ref()).unwrap_err().to_string();
        assert!(message("missing").contains("no image called missing, and no such directory"));
        for path in ["/nonesuch", "./nonesuch", "lib/b", "Upper"] {
            let message = message(path);
            assert!(message.contains(&format!("image {path}: No such file")), "{message}");
        }
        let file = place.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(message(file.to_str().unwrap()).contains("it is no directory"));
    }
}
