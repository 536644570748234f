//! Why a source does not become an image.

use std::io;
use std::path::PathBuf;

use crate::compression;
use crate::failure::Failure;
use crate::image::StoreError;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The source can't be opened or read.
    #[error("source {}: {reason}", path.display())]
    Source {
        /// As given.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Something in an archive that is not as the format has it.
    #[error("{what}: {reason}; is it damaged, or made to do harm?")]
    Malformed {
        /// What it is about, such as "entry etc/passwd".
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The end is missing.
    #[error("the archive ends too soon, as if it had been cut off; make it, or fetch it, again")]
    CutShort,
    /// More of something than anything honest has.
    #[error("the image has more than {limit} {what}: {remedy}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// The most there may be.
        limit: u64,
        /// What to do about it.
        remedy: &'static str,
    },
    /// A blob is not what its descriptor says.
    #[error(
        "{what}: its {property} is {found}, not {expected}; the image is damaged, fetch it again"
    )]
    Mismatch {
        /// The blob.
        what: String,
        /// "digest" or "size".
        property: &'static str,
        /// What the descriptor says.
        expected: String,
        /// What it is.
        found: String,
    },
    /// An image, but none that can be had here.
    #[error("{0}")]
    Unsuitable(String),
    /// Several images, of which none was chosen.
    #[error("there are several images in it: choose one with --ref: {0}")]
    Several(String),
    /// No image of the reference that was asked for.
    #[error("it has no image called '{wanted}'; it has: {there}")]
    NoReference {
        /// What was asked for.
        wanted: String,
        /// What is there.
        there: String,
    },
    /// Compressed data.
    #[error(transparent)]
    Compression(#[from] compression::Error),
    /// A step of our own failed.
    #[error(transparent)]
    Step(#[from] Failure),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ImportError {
    pub(super) fn malformed(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Malformed { what: what.into(), reason: reason.into() }
    }

    /// As the error of a reader, from which [`from_reading`](Self::from_reading) takes it back.
    pub(super) fn into_io(self) -> io::Error {
        io::Error::other(self)
    }

    /// What a reader of the source said: one of ours, or the system.
    pub(super) fn from_reading(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Self::CutShort;
        }
        if error.kind() == io::ErrorKind::OutOfMemory {
            return Self::malformed("its data", "they ask for too much memory to be unpacked");
        }
        match error.downcast::<Self>() {
            Ok(ours) => ours,
            Err(error) => Self::malformed("its data", error.to_string()),
        }
    }
}

/// Bytes of a stranger's, fit for a terminal.
pub(super) fn shown(bytes: &[u8]) -> String {
    const LONGEST: usize = 200;
    let text = String::from_utf8_lossy(bytes.get(..LONGEST).unwrap_or(bytes));
    let mut shown = text.escape_debug().to_string();
    if bytes.len() > LONGEST {
        shown.push('…');
    }
    shown
}
