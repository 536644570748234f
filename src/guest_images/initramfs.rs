//! Initramfs archives: what the kernel unpacks into its first root file system.
//!
//! The format is "newc" cpio (Documentation/driver-api/early-userspace/buffer-format.rst in Linux),
//! left uncompressed: unpacking gzip costs a guest some twenty million instructions a megabyte.

use std::io;

use cpio::NewcBuilder;
use cpio::newc::{ModeFileType, trailer};

use super::error::Error;

/// The directory of kernel modules.
pub(crate) const MODULES: &str = "modules";

/// The file that lists them, one a line, in the order in which they are to be loaded.
pub(crate) const MODULE_ORDER: &str = "modules/order";

/// An archive being put together in memory. Entries appear in the guest in the order they were
/// added, so a directory comes before what is in it. Owner is root and time is 0 everywhere: the
/// same contents give the same bytes.
#[derive(Default)]
pub struct Initramfs {
    archive: Vec<u8>,
    entries: u32,
}

impl Initramfs {
    /// An archive with /dev and /dev/console: the kernel opens that for init, or init has no output.
    pub fn with_console() -> Result<Self, Error> {
        let mut initramfs = Self::default();
        initramfs.directory("dev")?;
        initramfs.character_device("dev/console", 0o600, 5, 1)?;
        Ok(initramfs)
    }

    /// Adds a directory, readable by all. Paths have no leading slash.
    pub fn directory(&mut self, path: &str) -> Result<(), Error> {
        self.entry(path, ModeFileType::Directory, 0o755, (0, 0), &[])
    }

    /// Adds a file with these permission bits.
    pub fn file(&mut self, path: &str, permissions: u32, content: &[u8]) -> Result<(), Error> {
        self.entry(path, ModeFileType::Regular, permissions, (0, 0), content)
    }

    /// Adds a symbolic link to `target`.
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<(), Error> {
        self.entry(path, ModeFileType::Symlink, 0o777, (0, 0), target.as_bytes())
    }

    /// Adds a character device node.
    pub fn character_device(
        &mut self,
        path: &str,
        permissions: u32,
        major: u32,
        minor: u32,
    ) -> Result<(), Error> {
        self.entry(path, ModeFileType::Char, permissions, (major, minor), &[])
    }

    /// Adds kernel modules, to be loaded in this order.
    pub(crate) fn modules(&mut self, modules: Vec<(String, Vec<u8>)>) -> Result<(), Error> {
        self.directory(MODULES)?;
        let mut order = String::new();
        for (name, content) in modules {
            self.file(&format!("{MODULES}/{name}"), 0o600, &content)?;
            order.push_str(&name);
            order.push('\n');
        }
        self.file(MODULE_ORDER, 0o600, order.as_bytes())
    }

    /// The finished archive.
    pub fn finish(self) -> Result<Vec<u8>, Error> {
        trailer(self.archive).map_err(in_memory)
    }

    fn entry(
        &mut self,
        path: &str,
        file_type: ModeFileType,
        permissions: u32,
        (major, minor): (u32, u32),
        content: &[u8],
    ) -> Result<(), Error> {
        let size = u32::try_from(content.len()).map_err(|_| Error::TooLargeForInitramfs {
            name: path.to_string(),
            size: content.len(),
        })?;
        self.entries += 1;
        let mut writer = NewcBuilder::new(path)
            .ino(self.entries)
            .mode(permissions)
            .set_mode_file_type(file_type)
            .rdev_major(major)
            .rdev_minor(minor)
            .write(&mut self.archive, size);
        io::Write::write_all(&mut writer, content).map_err(in_memory)?;
        writer.finish().map_err(in_memory)?;
        Ok(())
    }
}

/// Writing to memory fails only when the cpio crate's own checks do.
fn in_memory(source: io::Error) -> Error {
    Error::File { action: "write", path: "an initramfs in memory".into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cpio::NewcReader;

    #[test]
    fn entries_come_back_as_they_went_in() {
        let mut initramfs = Initramfs::with_console().unwrap();
        initramfs.file("init", 0o755, b"#!/bin/sh\n").unwrap();
        initramfs.symlink("sh", "init").unwrap();
        let archive = initramfs.finish().unwrap();

        let mut rest = archive.as_slice();
        let mut seen = Vec::new();
        loop {
            let mut reader = NewcReader::new(rest).unwrap();
            let entry = reader.entry().clone();
            let mut content = Vec::new();
            io::Read::read_to_end(&mut reader, &mut content).unwrap();
            rest = reader.finish().unwrap();
            if entry.is_trailer() {
                break;
            }
            seen.push((entry.name().to_string(), entry.mode(), content));
        }
        let expected: [(&str, u32, &[u8]); 4] = [
            ("dev", 0o040_755, b""),
            ("dev/console", 0o020_600, b""),
            ("init", 0o100_755, b"#!/bin/sh\n"),
            ("sh", 0o120_777, b"init"),
        ];
        let seen: Vec<_> = seen.iter().map(|(n, m, c)| (n.as_str(), *m, c.as_slice())).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn the_same_contents_give_the_same_bytes() {
        let make = || Initramfs::with_console().unwrap().finish().unwrap();
        assert_eq!(make(), make());
    }
}
