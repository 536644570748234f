//! Where the pieces of an image are: files of a directory, or members of an archive of one.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::Mode;
use sha2::{Digest as _, Sha256};

use super::error::shown;
use super::limits::{self, Budget};
use super::path::{Absolute, components};
use super::tar::{Archive, Kind, Section};
use super::{ImportError, Limits};
use crate::failure::Step;

/// How many links between members may be followed: old docker archives have one for a layer that is
/// there twice.
const HOPS: usize = 4;

/// The pieces of an image.
pub(super) enum Blobs {
    Directory(std::os::fd::OwnedFd),
    Archive { file: Arc<File>, members: HashMap<Vec<u8>, Member> },
}

/// A file in an archive.
pub(super) enum Member {
    File {
        at: u64,
        size: u64,
    },
    /// To the member of this name.
    Link(Vec<u8>),
}

impl Blobs {
    /// Those of a directory.
    pub(super) fn in_directory(path: &Path) -> Result<Self, ImportError> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let opened = openat(AT_FDCWD, path, flags, Mode::empty());
        Ok(Self::Directory(opened.step_with(|| format!("open {}", path.display()))?))
    }

    /// Those of an archive that is not compressed: its headers are read, its data are not.
    pub(super) fn in_archive(file: Arc<File>, limits: Limits) -> Result<Self, ImportError> {
        let length = file.metadata().step("look at the archive")?.len();
        let mut archive = Archive::new(Section::new(file.clone(), 0, length));
        let mut members = HashMap::new();
        let mut budget = Budget::new(limits);
        while let Some(entry) = archive.next(&mut budget)? {
            if members.len() == limits::MEMBERS {
                let remedy = "it is no archive of an image; unpack it, and import the directory";
                let limit = limits::MEMBERS as u64;
                return Err(ImportError::Limit { what: "files in its archive", limit, remedy });
            }
            let names = components(&entry.path, Absolute::Refused)?;
            let name = names.join(&b'/');
            let member = match entry.kind {
                Kind::File if archive.stored() == entry.size => {
                    Member::File { at: archive.position(), size: entry.size }
                }
                Kind::Symlink(target) => {
                    let parents = names.get(..names.len().saturating_sub(1)).unwrap_or_default();
                    Member::Link(relative(parents, &target))
                }
                Kind::HardLink(target) => Member::Link(relative(&[], &target)),
                _ => continue,
            };
            if members.insert(name, member).is_some() {
                let what = format!("file {}", shown(&entry.path));
                return Err(ImportError::malformed(what, "is in the archive twice"));
            }
        }
        Ok(Self::Archive { file, members })
    }

    /// Whether there is a file of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.open(name).is_ok_and(|found| found.is_some())
    }

    /// A file and its size; `None` if it is not there.
    pub(super) fn open(&self, name: &str) -> Result<Option<(Section, u64)>, ImportError> {
        match self {
            Self::Directory(directory) => {
                let how = OpenHow::new()
                    .flags(OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)
                    .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
                let file = match openat2(directory, name, how) {
                    Err(nix::errno::Errno::ENOENT) => return Ok(None),
                    other => other.step_with(|| format!("open {}", shown(name.as_bytes())))?,
                };
                let file = File::from(file);
                let metadata = file.metadata().step("look at a blob")?;
                if !metadata.is_file() {
                    return Err(ImportError::malformed(shown(name.as_bytes()), "is no file"));
                }
                Ok(Some((Section::new(Arc::new(file), 0, metadata.len()), metadata.len())))
            }
            Self::Archive { file, members } => {
                let mut name = components(name.as_bytes(), Absolute::Refused)?.join(&b'/');
                for _ in 0..=HOPS {
                    match members.get(&name) {
                        None => return Ok(None),
                        Some(Member::File { at, size }) => {
                            return Ok(Some((Section::new(file.clone(), *at, *size), *size)));
                        }
                        Some(Member::Link(target)) => name.clone_from(target),
                    }
                }
                Err(ImportError::malformed(shown(&name), "is a link in a circle"))
            }
        }
    }

    /// A small file, with its digest.
    pub(super) fn read(&self, name: &str) -> Result<(Vec<u8>, String), ImportError> {
        let shown = shown(name.as_bytes());
        let (file, size) = self
            .open(name)?
            .ok_or_else(|| ImportError::malformed(shown.clone(), "is not there"))?;
        if size > limits::JSON {
            let reason = format!("has {size} bytes, more than the {} that any needs", limits::JSON);
            return Err(ImportError::malformed(shown, reason));
        }
        let mut bytes = Vec::new();
        let read =
            BufReader::new(file).read_to_end(&mut bytes).map_err(ImportError::from_reading)?;
        if read as u64 != size {
            return Err(ImportError::CutShort);
        }
        let digest = digest_text(Sha256::digest(&bytes).as_slice());
        Ok((bytes, digest))
    }
}

/// A link's target as a member's name: it may go up and down again. What leads out, leads nowhere.
fn relative(parents: &[&[u8]], target: &[u8]) -> Vec<u8> {
    let mut names = parents.to_vec();
    for name in target.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names.join(&b'/')
}

/// A SHA-256 as descriptors have it.
pub(super) fn digest_text(digest: &[u8]) -> String {
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// What is read, and its digest, if that is wanted.
pub(super) struct Hashing<R> {
    inner: R,
    hash: Option<Sha256>,
}

impl<R: Read> Hashing<R> {
    pub(super) fn new(inner: R, wanted: bool) -> Self {
        Self { inner, hash: wanted.then(Sha256::new) }
    }

    /// The digest of all that was read.
    pub(super) fn digest(self) -> String {
        self.hash.map(|hash| digest_text(hash.finalize().as_slice())).unwrap_or_default()
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if let Some(hash) = &mut self.hash {
            hash.update(buffer.get(..read).unwrap_or_default());
        }
        Ok(read)
    }
}
