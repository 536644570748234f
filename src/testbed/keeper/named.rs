//! The files and directories that commands name, in an export of their own: one numbered entry
//! each, for as long as the command runs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::isolate::{self, Attributes};
use crate::testbed::protocol::Export;

/// How much of something that can't be mounted (a pipe, a file without a name) is copied.
const COPY_LIMIT: u64 = 1 << 30;

/// The directory whose entries are exported.
#[derive(Debug)]
pub(super) struct Named {
    directory: PathBuf,
    next: u64,
    entries: BTreeMap<u64, Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    MountedFile,
    MountedDirectory,
    Copy,
}

impl Named {
    /// An export of what will appear in this directory.
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, next: 0, entries: BTreeMap::new() }
    }

    /// Exports one file or directory. `opened` is the client's own descriptor for it: it proves
    /// that the client may do with it what it asks for.
    ///
    /// # Errors
    /// In words for the user.
    pub(super) fn add(&mut self, export: &Export, opened: OwnedFd) -> Result<u64, String> {
        // Never a number twice: the testbed's kernel remembers what it has seen under one.
        let number = self.next;
        self.next += 1;
        let opened = File::from(opened);
        let entry = match self.mount(number, export, &opened) {
            Ok(Some(entry)) => entry,
            Ok(None) if export.write => {
                return Err("the testbed was started in other surroundings and does not see this \
                     file; stop it and run the command again: duplex testbed stop"
                    .into());
            }
            Ok(None) => self.copy(number, opened).map_err(|error| {
                self.discard(number, Entry::Copy);
                format!("it can't be copied for the testbed: {error}")
            })?,
            Err(error) => return Err(format!("it can't be shown to the testbed: {error}")),
        };
        self.entries.insert(number, entry);
        Ok(number)
    }

    /// Ends an export.
    pub(super) fn remove(&mut self, number: u64) {
        if let Some(entry) = self.entries.remove(&number) {
            self.discard(number, entry);
        }
    }

    /// Mounts the file at the export's path, if it is the one the client means.
    fn mount(&self, number: u64, export: &Export, opened: &File) -> io::Result<Option<Entry>> {
        let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        let Ok(seen) = File::options().read(true).custom_flags(flags).open(&export.path) else {
            return Ok(None);
        };
        let (theirs, ours) = (opened.metadata()?, seen.metadata()?);
        let kind = ours.file_type();
        if (theirs.dev(), theirs.ino()) != (ours.dev(), ours.ino())
            || !(kind.is_file() || kind.is_dir())
        {
            return Ok(None);
        }
        let place = self.place(number);
        let entry = if kind.is_dir() {
            fs::create_dir(&place)?;
            Entry::MountedDirectory
        } else {
            File::create_new(&place)?;
            Entry::MountedFile
        };
        let mounted = mount_restricted(&seen, export.write, &place);
        if let Err(error) = mounted {
            self.discard(number, entry);
            return Err(error);
        }
        Ok(Some(entry))
    }

    fn copy(&self, number: u64, from: File) -> io::Result<Entry> {
        if from.metadata()?.is_dir() {
            return Err(ErrorKind::IsADirectory.into());
        }
        // From its start, wherever the client's descriptor stands; a pipe has no start.
        let mut from = File::open(fd_path(&from)).unwrap_or(from);
        let mut to = File::create_new(self.place(number))?;
        let copied = io::copy(&mut io::Read::take(&mut from, COPY_LIMIT + 1), &mut to)?;
        if copied > COPY_LIMIT {
            return Err(ErrorKind::FileTooLarge.into());
        }
        Ok(Entry::Copy)
    }

    fn discard(&self, number: u64, entry: Entry) {
        let place = self.place(number);
        // Whatever fails here ends with the mount namespace.
        if entry != Entry::Copy {
            let _ = isolate::detach(&place);
        }
        let _ = match entry {
            Entry::MountedDirectory => fs::remove_dir(&place),
            Entry::MountedFile | Entry::Copy => fs::remove_file(&place),
        };
    }

    fn place(&self, number: u64) -> PathBuf {
        self.directory.join(number.to_string())
    }
}

fn mount_restricted(source: &File, write: bool, place: &Path) -> io::Result<()> {
    let tree = isolate::clone_tree(Some(source.as_fd()), Path::new(""))?;
    let attributes = Attributes { read_only: !write, no_suid: true, no_devices: true };
    isolate::restrict(&tree, attributes)?;
    isolate::attach(tree, place)
}

fn fd_path(file: &File) -> PathBuf {
    use std::os::fd::AsRawFd;
    Path::new("/proc/self/fd").join(file.as_raw_fd().to_string())
}
