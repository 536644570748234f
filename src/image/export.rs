//! A root file system as an archive: pax format (POSIX.1-2001), names in order, so that the same root
//! gives the same bytes.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::sys::stat::{major, minor};
use tar::{Builder, EntryType, Header};

use crate::failure::{Failure, Step};

/// What a header has room for.
const NAME: usize = 100;

/// Writes an archive of what is in `root`.
///
/// # Errors
/// Naming the file that can't be read, or that the output takes no more.
pub fn export(root: &Path, output: impl Write) -> Result<(), Failure> {
    let mut export = Export { archive: Builder::new(output), links: HashMap::new() };
    export.entry(root, b"./")?;
    export.below(root, b"./")?;
    let mut output = export.archive.into_inner().step("write the archive")?;
    output.flush().step("write the archive")
}

struct Export<W: Write> {
    archive: Builder<W>,
    /// Files that have several names, and the first of them.
    links: HashMap<(u64, u64), Vec<u8>>,
}

impl<W: Write> Export<W> {
    fn below(&mut self, directory: &Path, path: &[u8]) -> Result<(), Failure> {
        let names = || -> io::Result<Vec<_>> {
            let entries = fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name()));
            let mut names = entries.collect::<io::Result<Vec<_>>>()?;
            names.sort();
            Ok(names)
        };
        for name in names().step_with(|| format!("read {}", directory.display()))? {
            let file = directory.join(&name);
            let mut path = [path, name.as_bytes()].concat();
            if file.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
                path.push(b'/');
                self.entry(&file, &path)?;
                self.below(&file, &path)?;
            } else {
                self.entry(&file, &path)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, file: &Path, path: &[u8]) -> Result<(), Failure> {
        self.append(file, path).step_with(|| format!("write {} to the archive", file.display()))
    }

    fn append(&mut self, file: &Path, path: &[u8]) -> io::Result<()> {
        let metadata = file.symlink_metadata()?;
        let kind = metadata.file_type();
        let mut header = Header::new_ustar();
        let mut link = Vec::new();
        let mut size = 0;
        let number = (metadata.dev(), metadata.ino());
        let entry_type = if kind.is_dir() {
            EntryType::Directory
        } else if let Some(first) = self.links.get(&number) {
            link.clone_from(first);
            EntryType::Link
        } else if kind.is_file() {
            size = metadata.len();
            EntryType::Regular
        } else if kind.is_symlink() {
            link = fs::read_link(file)?.into_os_string().into_vec();
            EntryType::Symlink
        } else if kind.is_fifo() {
            EntryType::Fifo
        } else {
            let part = |number: u64| u32::try_from(number).unwrap_or_default();
            header.set_device_major(part(major(metadata.rdev())))?;
            header.set_device_minor(part(minor(metadata.rdev())))?;
            if kind.is_block_device() { EntryType::Block } else { EntryType::Char }
        };
        header.set_entry_type(entry_type);
        let is_link = entry_type == EntryType::Link;
        if metadata.nlink() > 1 && !kind.is_dir() && !is_link {
            self.links.insert(number, path.to_vec());
        }
        header.set_mode(metadata.mode() & 0o7777);
        header.set_uid(metadata.uid().into());
        header.set_gid(metadata.gid().into());
        header.set_size(size);
        header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or_default());
        let old = header.as_old_mut();
        put(&mut old.name, path);
        put(&mut old.linkname, &link);
        header.set_cksum();
        let records = if is_link { Vec::new() } else { extended(file, &metadata)? };
        let long = [("path", path), ("linkpath", &link)];
        let long = long.into_iter().filter(|(_, value)| value.len() > NAME);
        let records = records.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        self.archive.append_pax_extensions(long.chain(records))?;
        if size == 0 {
            return self.archive.append(&header, io::empty());
        }
        let mut data = Counted { inner: File::open(file)?.take(size), left: size };
        self.archive.append(&header, &mut data)?;
        if data.left == 0 { Ok(()) } else { Err(io::Error::other("it became shorter meanwhile")) }
    }
}

/// What does not fit into a header: fractions of seconds, times before 1970, extended attributes.
fn extended(file: &Path, metadata: &Metadata) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut records = Vec::new();
    let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
    if nanoseconds != 0 || seconds < 0 {
        // Nanoseconds count forwards, digits away from zero.
        let text = match (seconds < 0, nanoseconds) {
            (false, _) | (true, 0) => format!("{seconds}.{nanoseconds:09}"),
            (true, _) => {
                let (whole, fraction) = (-(seconds + 1), 1_000_000_000 - nanoseconds);
                format!("-{whole}.{fraction:09}")
            }
        };
        records.push(("mtime".to_owned(), text.into_bytes()));
    }
    let names = match xattr::list(file) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(records),
        other => other?,
    };
    for name in names {
        if let (Some(key), Some(value)) = (name.to_str(), xattr::get(file, &name)?) {
            records.push((format!("SCHILY.xattr.{key}"), value));
        }
    }
    Ok(records)
}

fn put(field: &mut [u8; NAME], text: &[u8]) {
    field.iter_mut().zip(text).for_each(|(byte, given)| *byte = *given);
}

/// Counts what is read of what has to be.
struct Counted<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}
