//! Compressed kernels: recognised by their first bytes, unpacked into an anonymous file.
//!
//! An anonymous file rather than a buffer, so that what was unpacked can be mapped into the guest
//! without a copy, as a kernel that came uncompressed is.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};

use nix::sys::memfd::{MFdFlags, memfd_create};
use thiserror::Error;

/// The most that one kernel may unpack to, in bytes. Far above any real kernel; a bound on what a
/// hostile file can make the VMM allocate.
pub const MAX_UNPACKED: u64 = 512 << 20;

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
    #[error("its {0:?} data cannot be unpacked: {1}; is the file cut off?")]
    Data(Compression, #[source] io::Error),
    /// A bomb, or no kernel.
    #[error("it unpacks to more than {} MiB, which no kernel does", MAX_UNPACKED >> 20)]
    TooLarge,
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

    fn reader<'a>(self, packed: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
        let packed = BufReader::new(packed);
        Ok(match self {
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
            Compression::Xz => Box::new(lzma_rust2::XzReader::new(packed, true)),
            Compression::Zstd => {
                Box::new(ruzstd::decoding::StreamingDecoder::new(packed).map_err(io::Error::other)?)
            }
            Compression::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(packed)),
        })
    }
}

/// Unpacks `packed` into an anonymous file.
///
/// # Errors
/// Malformed data, more than [`MAX_UNPACKED`] bytes, or no memory.
pub fn unpack(packed: impl Read, compression: Compression) -> Result<File, Error> {
    let bad_data = |error| Error::Data(compression, error);
    let file = memfd_create("duplex-kernel", MFdFlags::MFD_CLOEXEC)
        .map_err(|errno| Error::NoMemory(errno.into()))?;
    let mut file = File::from(file);
    let mut reader = compression.reader(packed).map_err(bad_data)?;
    let mut buffer = vec![0; 256 << 10];
    let mut total = 0;
    loop {
        let read = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(bad_data(error)),
        };
        total += read as u64;
        if total > MAX_UNPACKED {
            return Err(Error::TooLarge);
        }
        file.write_all(buffer.get(..read).unwrap_or_default()).map_err(Error::NoMemory)?;
    }
    Ok(file)
}
