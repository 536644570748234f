//! What can go wrong with guest images.

use std::io;
use std::path::{Path, PathBuf};

use super::payload::PayloadError;
use crate::compression;

/// Why a guest image is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither `DUPLEX_CACHE`, `XDG_CACHE_HOME` nor `HOME` says where the cache is.
    #[error("no place for the cache of guest images: set HOME, or DUPLEX_CACHE to a directory")]
    NoCacheDirectory,

    /// The cache is in a place where somebody else could change what guests run.
    #[error(
        "the cache {path} cannot be trusted: {reason}; make it yours alone, or set DUPLEX_CACHE to another directory"
    )]
    UntrustedCache {
        /// The cache's directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// A file operation failed.
    #[error(
        "cannot {action} {path}: {source}; check the space and permissions there, or set DUPLEX_CACHE to another directory"
    )]
    File {
        /// What was tried, such as "create".
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },

    /// A script that fetches or builds an image failed.
    #[error("cannot {task}: {reason}\n{remedy}")]
    Script {
        /// What it was to do, such as "get Debian's kernel 6.1".
        task: String,
        /// How it ended and the last lines it wrote.
        reason: String,
        /// What the user can do about it.
        remedy: &'static str,
    },

    /// The kernel that a bzImage carries cannot be unpacked.
    #[error(
        "cannot unpack the kernel in {path}: {source}; remove the directory it is in and try again"
    )]
    Payload {
        /// The bzImage.
        path: PathBuf,
        /// What is wrong with it.
        source: PayloadError,
    },

    /// A kernel module that does not unpack.
    #[error(
        "cannot unpack the kernel module {path}: {source}; remove the cache entry it is in and try again"
    )]
    Module {
        /// The module's file.
        path: PathBuf,
        /// Why.
        source: compression::Error,
    },

    /// A file is too large for an initramfs archive, whose sizes are 32 bits wide.
    #[error("{name} is too large for an initramfs ({size} bytes); put it on a disk instead")]
    TooLargeForInitramfs {
        /// The file's name in the archive.
        name: String,
        /// Its size.
        size: usize,
    },
}

impl Error {
    /// For `map_err`: a failed file operation.
    pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File { action, path, source }
    }
}
