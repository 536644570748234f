//! Files that a command wrote to in a testbed made from a disk image: they come back as a whole.

use std::fs::File;
use std::io::{self, Seek, Write};

use crate::testbed::files::NamedFile;

/// Where they go: only to files that were named for writing, for the other side may be in hostile
/// hands.
pub(super) struct WrittenFiles<'a> {
    files: &'a [NamedFile],
    /// The one whose new content is arriving.
    current: Option<File>,
}

impl<'a> WrittenFiles<'a> {
    pub(super) fn to(files: &'a [NamedFile]) -> Self {
        Self { files, current: None }
    }

    /// The content of the file with this number follows.
    pub(super) fn begin(&mut self, number: usize) -> io::Result<()> {
        self.complete()?;
        let file = self.files.get(number).filter(|file| file.export.write);
        let file = file.ok_or_else(|| io::Error::other("content of a file that was not named"))?;
        let mut file = File::from(file.opened.try_clone()?);
        file.set_len(0)?;
        file.rewind()?;
        self.current = Some(file);
        Ok(())
    }

    /// A part of the content.
    pub(super) fn add(&mut self, data: &[u8]) -> io::Result<()> {
        let file = self.current.as_mut();
        file.ok_or_else(|| io::Error::other("content of no file"))?.write_all(data)
    }

    /// No more follows: what has come is on the disk when this returns.
    pub(super) fn complete(&mut self) -> io::Result<()> {
        self.current.take().map_or(Ok(()), |file| file.sync_all())
    }
}
