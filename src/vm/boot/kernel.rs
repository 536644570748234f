//! A kernel file: recognised by its content, never by its name, and checked before it is used.

use std::fs::File;
use std::io::{self, Seek};
use std::path::Path;

use thiserror::Error;

use super::bzimage::{self, BzImage};
use super::elf::{self, ElfImage};
use super::source::{ReadAt, describe, open_at_once};
use super::unpack::{self, MAX_UNPACKED};
use crate::compression::Compression;

/// A kernel that is fit to be loaded.
pub struct Kernel {
    /// The kernel's bytes: the file itself, or what it unpacked to.
    pub file: File,
    /// What the bytes are.
    pub format: Format,
}

/// The kernel formats that duplex boots.
pub enum Format {
    /// An ELF, entered by PVH where it has that note, else by the 64-bit Linux boot protocol.
    Elf(ElfImage),
    /// A bzImage, entered by its 64-bit entry.
    BzImage(Box<BzImage>),
}

/// Why a file is not a kernel that can be booted. The caller names the file.
#[derive(Debug, Error)]
pub enum Error {
    /// open(2) failed.
    #[error("it cannot be opened: {0}; give a file that is there and that you can read")]
    Open(#[source] io::Error),
    /// A directory, a FIFO, a device.
    #[error("it is {0}, not a regular file")]
    NotAFile(&'static str),
    /// Not one byte in it.
    #[error("it is empty")]
    Empty,
    /// read(2) failed.
    #[error("it cannot be read: {0}")]
    Read(#[source] io::Error),
    /// None of the formats.
    #[error(
        "it is no kernel that duplex knows (it starts with {0}): give an ELF, a bzImage, or one of \
         them compressed by gzip, xz, zstd or LZ4"
    )]
    Unknown(String),
    /// Damaged or oversized compressed data.
    #[error(transparent)]
    Unpack(#[from] unpack::Error),
    /// No kernel in it.
    #[error("its {0} data unpacks to something that is no kernel (it starts with {1})")]
    UnknownInside(Compression, String),
    /// Compressed data inside of compressed data.
    #[error("its {0} data unpacks to {1} data: unpack one of them by hand")]
    CompressedTwice(Compression, Compression),
    /// Nothing in it.
    #[error("its {0} data unpacks to nothing")]
    EmptyInside(Compression),
    /// An ELF that cannot be booted.
    #[error(transparent)]
    Elf(#[from] elf::Error),
    /// A bzImage that cannot be booted.
    #[error(transparent)]
    BzImage(#[from] bzimage::Error),
}

impl Kernel {
    /// Opens, recognises, unpacks and checks the kernel at `path`.
    ///
    /// # Errors
    /// Whatever makes it unfit to be loaded.
    pub fn open(path: &Path) -> Result<Kernel, Error> {
        let (file, metadata) = open_at_once(path).map_err(Error::Open)?;
        if !metadata.is_file() {
            return Err(Error::NotAFile(describe(metadata.file_type())));
        }
        Kernel::from_file(file)
    }

    /// Recognises, unpacks and checks a kernel.
    ///
    /// # Errors
    /// As [`Kernel::open`].
    pub fn from_file(file: File) -> Result<Kernel, Error> {
        Kernel::from_file_within(file, MAX_UNPACKED)
    }

    /// The same for a kernel that may unpack to at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Kernel::open`].
    pub fn from_file_within(file: File, limit: u64) -> Result<Kernel, Error> {
        let head = read_head(&file)?;
        if head.is_empty() {
            return Err(Error::Empty);
        }
        let Some(outer) = Compression::recognise(&head) else {
            let format = recognise(&file, &head)?.ok_or_else(|| Error::Unknown(show(&head)))?;
            return Ok(Kernel { file, format });
        };
        (&file).rewind().map_err(Error::Read)?;
        let file = unpack::unpack(file, outer, limit)?;
        let head = read_head(&file)?;
        if head.is_empty() {
            return Err(Error::EmptyInside(outer));
        }
        if let Some(inner) = Compression::recognise(&head) {
            return Err(Error::CompressedTwice(outer, inner));
        }
        let format =
            recognise(&file, &head)?.ok_or_else(|| Error::UnknownInside(outer, show(&head)))?;
        Ok(Kernel { file, format })
    }
}

/// Recognises an uncompressed kernel; `None` where it is none.
///
/// # Errors
/// It is one, but unfit to be loaded.
pub fn recognise(file: &impl ReadAt, head: &[u8]) -> Result<Option<Format>, Error> {
    if head.starts_with(b"\x7FELF") {
        return Ok(Some(Format::Elf(elf::parse(file)?)));
    }
    if bzimage::is_bzimage(head) {
        return Ok(Some(Format::BzImage(Box::new(bzimage::parse(file)?))));
    }
    Ok(None)
}

/// The first bytes, as many as recognising any format takes.
fn read_head(file: &File) -> Result<Vec<u8>, Error> {
    let size = usize::try_from(file.size().map_err(Error::Read)?).unwrap_or(usize::MAX);
    let mut head = vec![0; size.min(1024)];
    file.read_exact_at(&mut head, 0).map_err(Error::Read)?;
    Ok(head)
}

/// The first bytes, for a person: as text where they are text.
fn show(head: &[u8]) -> String {
    let shown = head.get(..8).unwrap_or(head);
    match std::str::from_utf8(shown) {
        Ok(text) if !text.contains(|c: char| c.is_control() && c != '\n') => {
            format!("the text {text:?}")
        }
        _ => shown.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::packed::{FORMATS, gzip, xz};
    use crate::samples::{self, Elf};
    use std::io::Write;

    fn opened(bytes: &[u8]) -> Result<Kernel, Error> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Kernel::from_file(file)
    }

    #[test]
    fn kernels_are_recognised_by_their_content() {
        let elf = Elf::kernel(vec![0xF4; 64]).build();
        let bzimage = samples::BzImage::kernel(vec![0xF4; 0x1000]).build();
        assert!(matches!(opened(&elf).unwrap().format, Format::Elf(_)));
        assert!(matches!(opened(&bzimage).unwrap().format, Format::BzImage(_)));
        for (format, pack) in FORMATS {
            assert!(matches!(opened(&pack(&elf)).unwrap().format, Format::Elf(_)), "{format}");
            let image = opened(&pack(&bzimage)).unwrap();
            assert!(matches!(image.format, Format::BzImage(_)), "{format}");
        }
    }

    #[test]
    fn what_is_no_kernel_says_what_it_is() {
        assert!(matches!(opened(b""), Err(Error::Empty)));
        assert!(matches!(opened(b"text"), Err(Error::Unknown(_))));
        assert!(matches!(opened(&gzip(b"text")), Err(Error::UnknownInside(..))));
        assert!(matches!(opened(&gzip(b"")), Err(Error::EmptyInside(_))));
        assert!(matches!(opened(&gzip(&xz(b"text"))), Err(Error::CompressedTwice(..))));
    }

    #[test]
    fn first_bytes_are_shown_as_text_only_where_they_are_text() {
        assert_eq!(show(b"#!/bin/sh\n"), r##"the text "#!/bin/s""##);
        assert_eq!(show(b"a\nb"), r#"the text "a\nb""#);
        assert_eq!(show(&[0x1B, b'c']), "1b 63");
        assert_eq!(show(&[0xFF; 9]), "ff ff ff ff ff ff ff ff");
    }
}
