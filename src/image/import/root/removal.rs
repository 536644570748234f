//! What gives way to something else, or is taken away.

use std::collections::HashSet;
use std::ffi::CString;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::lookup::child;
use super::{Directory, Root, stat};
use crate::failure::Step;
use crate::image::import::{ImportError, shown};

/// The names that a layer has added: an unguessable digest of the path of each.
#[derive(Default)]
pub(in crate::image::import) struct Added {
    keys: RandomState,
    paths: HashSet<u64>,
}

impl Added {
    /// Adds one; false if it is there already.
    pub(in crate::image::import) fn insert(&mut self, path: &[u8]) -> bool {
        self.paths.insert(self.keys.hash_one(path))
    }

    fn contains(&self, path: &[u8]) -> bool {
        self.paths.contains(&self.keys.hash_one(path))
    }
}

impl Root {
    /// Removes what has this name, with all below it.
    pub(super) fn clear(&mut self, parent: &Directory, name: &[u8]) -> Result<(), ImportError> {
        if stat(parent.fd.as_fd(), name)?.is_some() {
            self.hide(parent, name, &Added::default())?;
        }
        Ok(())
    }

    /// Removes what has this name, with all below it, but for what has been added.
    pub(in crate::image::import) fn hide(
        &mut self,
        parent: &Directory,
        name: &[u8],
        added: &Added,
    ) -> Result<(), ImportError> {
        // It may lead through what goes away.
        self.recent = None;
        let path = parent.child(name);
        remove(parent.fd.as_fd(), name, &path, added)
            .step_with(|| format!("remove {}", shown(&path)))?;
        Ok(())
    }

    /// Removes all that is in a directory, but for what has been added.
    pub(in crate::image::import) fn hide_all(
        &mut self,
        directory: &Directory,
        added: &Added,
    ) -> Result<(), ImportError> {
        self.recent = None;
        remove_below(directory.fd.as_fd(), b".", &directory.path, added)
            .step_with(|| format!("empty {}", shown(&directory.path)))?;
        Ok(())
    }
}

/// Removes a name with all below it, but for what has been added; true when nothing is left.
fn remove(parent: BorrowedFd<'_>, name: &[u8], path: &[u8], added: &Added) -> io::Result<bool> {
    let kept = added.contains(path);
    let how = match stat(parent, name).map_err(io::Error::other)? {
        None => return Ok(true),
        Some(found) if found.is_directory => {
            if !remove_below(parent, name, path, added)? {
                return Ok(false);
            }
            UnlinkatFlags::RemoveDir
        }
        Some(_) => UnlinkatFlags::NoRemoveDir,
    };
    if !kept {
        unlinkat(parent, name, how)?;
    }
    Ok(!kept)
}

/// Removes what is in a directory, but for what has been added; true when nothing is left. It goes no
/// deeper than directories may lie in each other.
fn remove_below(
    parent: BorrowedFd<'_>,
    name: &[u8],
    path: &[u8],
    added: &Added,
) -> io::Result<bool> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut directory = Dir::openat(parent, name, flags, Mode::empty())?;
    let names = directory.iter().map(|entry| Ok(entry?.file_name().to_owned()));
    let names = names.collect::<nix::Result<Vec<CString>>>()?;
    let mut is_empty = true;
    for name in names.iter().map(|name| name.as_bytes()).filter(|n| !matches!(*n, b"." | b"..")) {
        is_empty &= remove(directory.as_fd(), name, &child(path, name), added)?;
    }
    Ok(is_empty)
}
