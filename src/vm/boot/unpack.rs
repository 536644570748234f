//! Compressed kernels: recognised by their first bytes, unpacked into an anonymous file.
//!
//! An anonymous file rather than a buffer, so that what was unpacked can be mapped into the guest
//! without a copy, as a kernel that came uncompressed is.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};

use nix::sys::memfd::{MFdFlags, memfd_create};
use ruzstd::decoding::StreamingDecoder;
use ruzstd::decoding::errors::FrameDecoderError;
use thiserror::Error;

use super::source::ends_too_soon;

/// The most that one kernel may unpack to, in bytes. Far above any real kernel; a bound on what a
/// hostile file can make the VMM allocate.
pub const MAX_UNPACKED: u64 = 512 << 20;
/// The most memory that a decoder may take for its window, in KiB: all that `zstd --ultra -22`
/// asks for. `xz -9` asks for half of it, LZ4 and gzip for a few MiB at most.
const MAX_WINDOW_KIB: u32 = 128 << 10;
/// What the xz decoder takes beside its window, in KiB.
const XZ_TABLES_KIB: u32 = 1 << 10;

/// A compression that kernels come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// The .xz file format.
    Xz,
    /// RFC 8878.
    Zstd,
    /// The LZ4 frame format, or the legacy frame format that the Linux build uses.
    Lz4,
}

/// Why a compressed kernel could not be unpacked.
#[derive(Debug, Error)]
pub enum Error {
    /// Malformed or cut-off data.
    #[error("its {0} data cannot be unpacked: {1}; is the file damaged or cut off?")]
    Data(Compression, #[source] io::Error),
    /// A bomb, or no kernel.
    #[error("its {0} data unpacks to more than {mib} MiB, which no kernel does", mib = .1 >> 20)]
    TooLarge(Compression, u64),
    /// A header that asks for a huge window.
    #[error(
        "its {0} data asks for more than {mib} MiB to be unpacked, which no kernel does: compress \
         it at an ordinary level",
        mib = MAX_WINDOW_KIB >> 10
    )]
    Window(Compression),
    /// No memory for it.
    #[error("there is no memory to unpack it into: {0}")]
    NoMemory(#[source] io::Error),
}

impl Compression {
    /// Recognises a compression by the magic bytes at the start of a file.
    pub fn recognise(head: &[u8]) -> Option<Compression> {
        const MAGICS: [(&[u8], Compression); 5] = [
            (&[0x1F, 0x8B, 0x08], Compression::Gzip),
            (&[0xFD, b'7', b'z', b'X', b'Z', 0x00], Compression::Xz),
            (&[0x28, 0xB5, 0x2F, 0xFD], Compression::Zstd),
            (&[0x04, 0x22, 0x4D, 0x18], Compression::Lz4),
            (&[0x02, 0x21, 0x4C, 0x18], Compression::Lz4),
        ];
        MAGICS.iter().find(|(magic, _)| head.starts_with(magic)).map(|&(_, found)| found)
    }

    fn reader<'a>(self, packed: impl Read + 'a) -> Result<Box<dyn Read + 'a>, Error> {
        let packed = BufReader::new(packed);
        Ok(match self {
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
            Compression::Xz => {
                let limit = MAX_WINDOW_KIB + XZ_TABLES_KIB;
                Box::new(lzma_rust2::XzReader::new_mem_limit(packed, true, limit))
            }
            Compression::Zstd => {
                let window = u64::from(MAX_WINDOW_KIB) << 10;
                let reader = StreamingDecoder::new_with_max_window_size(packed, window);
                Box::new(reader.map_err(|error| match error {
                    FrameDecoderError::WindowSizeTooBig { .. } => Error::Window(self),
                    other => Error::Data(self, io::Error::other(other)),
                })?)
            }
            Compression::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(packed)),
        })
    }

    /// The error for what a decoder said.
    fn refused(self, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::OutOfMemory => Error::Window(self),
            io::ErrorKind::UnexpectedEof => Error::Data(self, ends_too_soon()),
            _ => Error::Data(self, error),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::Gzip => "gzip",
            Compression::Xz => "xz",
            Compression::Zstd => "zstd",
            Compression::Lz4 => "LZ4",
        })
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
    let mut reader = compression.reader(packed)?;
    let mut buffer = vec![0; 256 << 10];
    let mut total = 0;
    loop {
        let read = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(compression.refused(error)),
        };
        total += read as u64;
        if total > limit {
            return Err(Error::TooLarge(compression, limit));
        }
        file.write_all(buffer.get(..read).unwrap_or_default()).map_err(Error::NoMemory)?;
    }
    Ok(file)
}
