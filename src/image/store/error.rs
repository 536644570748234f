//! What can go wrong with the store.

use std::io;
use std::path::{Path, PathBuf};

use crate::image::Name;

/// Why the store, or an image in it, can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Nothing says where it is.
    #[error("there is no place for images: set HOME, or XDG_DATA_HOME to a directory of your own")]
    NoDirectory,
    /// Others could have put something there.
    #[error(
        "the image store {} can't be trusted: {reason}; mend that, or point XDG_DATA_HOME at a \
         directory of your own", path.display()
    )]
    Untrusted {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file operation failed.
    #[error("image store: cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// None of this name.
    #[error("there is no image called {0}: `duplex image ls` lists those that are there")]
    None(Name),
    /// Two of one name.
    #[error(
        "an image called {0} is there already: choose another name, replace it with --replace, or \
         remove it: duplex image rm {0}"
    )]
    Taken(Name),
    /// Somebody runs it.
    #[error(
        "the image {0} is in use: end the instances that run it (`duplex ps` lists them, `duplex stop` \
         ends them) and try again"
    )]
    InUse(Name),
    /// It went away while it was looked for.
    #[error("the image in {} has just been removed: import it again", .0.display())]
    Removed(PathBuf),
}

impl StoreError {
    /// For `map_err`: a failed file operation.
    pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File { action, path, source }
    }
}
