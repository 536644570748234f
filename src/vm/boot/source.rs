//! Random access to bytes that are not trusted: a file, or memory in tests and fuzzing.

use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

use vm_memory::ByteValued;

/// Something with a length that can be read at any offset.
pub trait ReadAt {
    /// How many bytes there are.
    ///
    /// # Errors
    /// What the file system reports.
    fn size(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` where the bytes end before the buffer is full.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Reads a plain C structure at `offset`.
    ///
    /// # Errors
    /// As [`ReadAt::read_exact_at`].
    fn read_obj<T: ByteValued + Default>(&self, offset: u64) -> io::Result<T> {
        let mut object = T::default();
        self.read_exact_at(object.as_mut_slice(), offset)?;
        Ok(object)
    }
}

/// `UnexpectedEof` in words that don't speak of buffers.
pub fn ends_too_soon() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the file ends too soon, as if it had been cut off",
    )
}

impl ReadAt for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        // pread(2) has other errors for what lies beyond any file.
        if end.is_none_or(|end| i64::try_from(end).is_err()) {
            return Err(ends_too_soon());
        }
        FileExt::read_exact_at(self, buffer, offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ends_too_soon(),
            _ => error,
        })
    }
}

impl ReadAt for &[u8] {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..)?.get(..buffer.len()))
            .ok_or_else(ends_too_soon)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

/// Opens what is at `path` for reading, without waiting for anybody: a FIFO that has no writer
/// would do so for ever.
///
/// # Errors
/// open(2)'s and fstat(2)'s.
pub fn open_at_once(path: &Path) -> io::Result<(File, Metadata)> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    Ok((file, metadata))
}

/// What is at a path where a regular file should be.
pub fn describe(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_char_device() || kind.is_block_device() {
        "a device"
    } else {
        "a special file"
    }
}
