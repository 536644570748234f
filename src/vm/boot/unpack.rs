//! Compressed kernels, unpacked into an anonymous file.
//!
//! An anonymous file rather than a buffer, so that what was unpacked can be mapped into the guest
//! without a copy, as a kernel that came uncompressed is.

use std::fs::File;
use std::io::{self, Read};

use nix::sys::memfd::{MFdFlags, memfd_create};
use thiserror::Error;

use crate::compression::{self, Compression};

/// The most that one kernel may unpack to, in bytes. Far above any real kernel; a bound on what a
/// hostile file can make the VMM allocate.
pub const MAX_UNPACKED: u64 = 512 << 20;

/// Why a compressed kernel could not be unpacked.
#[derive(Debug, Error)]
pub enum Error {
    /// Malformed or cut-off data.
    #[error(transparent)]
    Data(compression::Error),
    /// A bomb, or no kernel.
    #[error("{0}, which no kernel does")]
    TooLarge(#[source] compression::Error),
    /// A header that asks for a huge window.
    #[error("{0}, which no kernel does: compress it at an ordinary level")]
    Window(#[source] compression::Error),
    /// No memory for it.
    #[error("there is no memory to unpack it into: {0}")]
    NoMemory(#[source] io::Error),
}

impl From<compression::Error> for Error {
    fn from(error: compression::Error) -> Error {
        match error {
            compression::Error::Data(..) => Error::Data(error),
            compression::Error::TooLarge(..) => Error::TooLarge(error),
            compression::Error::Window(_) => Error::Window(error),
            compression::Error::Output(error) => Error::NoMemory(error),
        }
    }
}

/// Unpacks `packed` into an anonymous file of at most `limit` bytes.
///
/// # Errors
/// Malformed data, more than `limit` bytes, or no memory.
pub fn unpack(packed: impl Read, compression: Compression, limit: u64) -> Result<File, Error> {
    let file = memfd_create("duplex-kernel", MFdFlags::MFD_CLOEXEC)
        .map_err(|errno| Error::NoMemory(errno.into()))?;
    let mut file = File::from(file);
    compression.unpack(packed, &mut file, limit)?;
    Ok(file)
}
