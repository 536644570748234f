//! What a source is: told by what is in it, never by its name.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, Cursor, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::blob::unpack;
use super::blobs::Blobs;
use super::limits::Budget;
use super::path::{Absolute, components};
use super::tar::{Archive, Section, Stream};
use super::{ImportError, Limits, docker, oci};
use crate::compression::Compression;
use crate::failure::Step;

/// How much of a file is looked at.
const HEAD: u64 = 1 << 20;

/// A source.
pub(super) enum Source {
    /// A directory with a root file system.
    Directory(PathBuf),
    /// An archive of a root file system, perhaps compressed.
    Tarball(Box<dyn Read>),
    /// An image in layers.
    Image(Blobs),
}

impl Source {
    /// Opens what is at `path`, or standard input if that is `-`. What has to be unpacked to be read
    /// goes to a file in `scratch`.
    pub(super) fn open(path: &Path, scratch: &Path, limits: Limits) -> Result<Self, ImportError> {
        let failed = |error: io::Error| ImportError::Source {
            path: path.to_path_buf(),
            reason: error.to_string(),
        };
        let file = if path.as_os_str() == "-" {
            File::from(io::stdin().as_fd().try_clone_to_owned().map_err(failed)?)
        } else {
            let metadata = fs::metadata(path).map_err(failed)?;
            if metadata.is_dir() {
                let blobs = Blobs::in_directory(path)?;
                let is_layout = oci::is_there(&blobs);
                let directory = || Self::Directory(path.to_path_buf());
                return Ok(if is_layout { Self::Image(blobs) } else { directory() });
            }
            File::open(path).map_err(failed)?
        };
        let mut head = Vec::new();
        (&file).take(HEAD).read_to_end(&mut head).map_err(failed)?;
        let compression = Compression::recognise(&head);
        let first = first_name(&head, compression, limits);
        if compression.is_none() && first.is_none() {
            let path = path.to_path_buf();
            let reason = "it is neither a directory, a tarball, an OCI layout nor a docker archive";
            return Err(ImportError::Source { path, reason: reason.into() });
        }
        let is_regular = path.as_os_str() != "-" && file.metadata().map_err(failed)?.is_file();
        if !first.is_some_and(|name| is_of_an_image(&name)) {
            return Ok(Self::Tarball(Box::new(Cursor::new(head).chain(file))));
        }
        let file = if is_regular && compression.is_none() {
            file
        } else {
            spool(Cursor::new(head).chain(file), compression, scratch, limits)?
        };
        let file = Arc::new(file);
        let blobs = Blobs::in_archive(file.clone(), limits)?;
        if oci::is_there(&blobs) || docker::is_there(&blobs) {
            return Ok(Self::Image(blobs));
        }
        let length = file.metadata().map_err(failed)?.len();
        Ok(Self::Tarball(Box::new(Section::new(file, 0, length))))
    }
}

/// The first name in an archive, as far as its beginning tells; empty if it has none.
fn first_name(head: &[u8], compression: Option<Compression>, limits: Limits) -> Option<Vec<u8>> {
    let read = Cell::new(u64::MAX);
    let mut archive = Archive::new(Stream(unpack(head, &read, compression, limits)));
    let mut budget = Budget::new(limits);
    while let Some(entry) = archive.next(&mut budget).ok()? {
        let names = components(&entry.path, Absolute::BelowRoot).ok();
        match names.map(|names| names.first().map(|name| name.to_vec())) {
            // The root.
            Some(None) => {}
            Some(Some(name)) => return Some(name),
            None => return Some(Vec::new()),
        }
    }
    Some(Vec::new())
}

/// Whether that is what archives of images begin with: all of their files are called so. Docker's
/// old ones have directories, and skopeo's files, that are called by a digest.
fn is_of_an_image(name: &[u8]) -> bool {
    let known: [&[u8]; 5] =
        [b"oci-layout", b"index.json", b"manifest.json", b"blobs", b"repositories"];
    let is_digest = name.get(..64).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    known.contains(&name) || is_digest
}

/// Unpacks a stream into a file, from which it can be read in any order.
fn spool(
    packed: impl Read,
    compression: Option<Compression>,
    scratch: &Path,
    limits: Limits,
) -> Result<File, ImportError> {
    let read = Cell::new(0);
    let packed = super::limits::Counting::new(packed, &read);
    let mut unpacked = unpack(packed, &read, compression, limits);
    let path = scratch.join("archive");
    let open = || File::options().read(true).write(true).create_new(true).open(&path);
    let mut file = open().step_with(|| format!("make {}", path.display()))?;
    let mut buffer = vec![0; 256 << 10];
    let mut total = 0;
    loop {
        let count = match unpacked.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other.map_err(ImportError::from_reading)?,
        };
        if count == 0 {
            return Ok(file);
        }
        total += count as u64;
        if total > limits.size {
            return Err(limits.too_large());
        }
        io::Write::write_all(&mut file, buffer.get(..count).unwrap_or_default())
            .step_with(|| format!("write {}", path.display()))?;
    }
}
