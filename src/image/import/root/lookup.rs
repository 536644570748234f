//! Directories below the root, found by their paths.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2, readlink};
use nix::sys::stat::{Mode, SFlag, mkdirat};

use super::{Added, Root, make_step, refused};
use crate::failure::Step;
use crate::image::import::tar::Attributes;
use crate::image::import::{ImportError, limits, shown};

/// openat2(2) may ask for another try when somebody renames something meanwhile.
const TRIES: u32 = 64;

/// A directory below the root, or the root.
pub(in crate::image::import) struct Directory {
    pub(super) fd: OwnedFd,
    /// Its path without symbolic links, from the root; empty for the root.
    pub(super) path: Vec<u8>,
}

/// What to do about symbolic links on the way to a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::image::import) enum Links {
    /// They are followed, below the root.
    Followed,
    /// There must be none.
    Refused,
}

impl Root {
    /// The directory with these names; `None` if it is not there.
    pub(in crate::image::import) fn find(
        &mut self,
        names: &[&[u8]],
        links: Links,
    ) -> Result<Option<Rc<Directory>>, ImportError> {
        if names.is_empty() {
            return Ok(Some(self.top.clone()));
        }
        let path = names.join(&b'/');
        if let Some((known, by, directory)) = &self.recent
            && *known == path
            && (*by == links || *by == Links::Refused)
        {
            return Ok(Some(directory.clone()));
        }
        let mut found_by = Links::Refused;
        let mut opened = self.open_below(&path, Links::Refused);
        if matches!(opened, Err(Errno::ELOOP)) && links == Links::Followed {
            found_by = Links::Followed;
            opened = self.open_below(&path, Links::Followed);
        }
        let fd = match opened {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ELOOP) => return Err(refused(&path, "a symbolic link is on its way")),
            Err(Errno::ENOTDIR) => {
                return Err(refused(&path, "something on its way is no directory"));
            }
            other => other.step_with(|| format!("open {}", shown(&path)))?,
        };
        let real = match found_by {
            Links::Refused => path.clone(),
            Links::Followed => self.below(&real_path(fd.as_fd()).step("ask for a path")?, &path)?,
        };
        let directory = Rc::new(Directory { fd, path: real });
        self.recent = Some((path, found_by, directory.clone()));
        Ok(Some(directory))
    }

    /// The directory with these names, made if it is not there; those that are made are added.
    pub(in crate::image::import) fn find_or_make(
        &mut self,
        names: &[&[u8]],
        added: &mut Added,
    ) -> Result<Rc<Directory>, ImportError> {
        if let Some(directory) = self.find(names, Links::Followed)? {
            return Ok(directory);
        }
        let missing =
            || refused(&names.join(&b'/'), "a symbolic link on its way leads nowhere in the image");
        let (name, parents) = names.split_last().ok_or_else(missing)?;
        let parent = self.find_or_make(parents, added)?;
        match mkdirat(&parent.fd, *name, Mode::S_IRWXU) {
            // A symbolic link, or what one leads to would be there.
            Err(Errno::EEXIST) => return Err(missing()),
            other => other.step_with(|| make_step(&parent.child(name)))?,
        }
        added.insert(&parent.child(name));
        let attributes = Attributes { mode: 0o755, ..Attributes::default() };
        self.set_attributes(&parent, name, SFlag::S_IFDIR, &attributes)?;
        self.find(names, Links::Followed)?.ok_or_else(missing)
    }

    /// A path without symbolic links as one from the root; it is no deeper than any may be.
    fn below(&self, real: &[u8], path: &[u8]) -> Result<Vec<u8>, ImportError> {
        let below = real.strip_prefix(&*self.place).and_then(|rest| match rest {
            [] => Some(rest),
            _ => rest.strip_prefix(b"/"),
        });
        let below = below.ok_or_else(|| refused(path, "it lies outside of the image"))?;
        if below.len() >= limits::PATH || below.split(|byte| *byte == b'/').count() > limits::DEPTH
        {
            return Err(refused(path, "it is more than 256 directories deep"));
        }
        Ok(below.to_vec())
    }

    pub(super) fn open_below(&self, path: &[u8], links: Links) -> nix::Result<OwnedFd> {
        let mut resolve = ResolveFlag::RESOLVE_IN_ROOT
            | ResolveFlag::RESOLVE_NO_MAGICLINKS
            | ResolveFlag::RESOLVE_NO_XDEV;
        resolve.set(ResolveFlag::RESOLVE_NO_SYMLINKS, links == Links::Refused);
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let how = OpenHow::new().flags(flags).resolve(resolve);
        let open = || openat2(&self.top.fd, path, how);
        let again =
            |opened: &nix::Result<OwnedFd>| matches!(opened, Err(Errno::EAGAIN | Errno::EINTR));
        (1..TRIES).map(|_| open()).find(|opened| !again(opened)).unwrap_or_else(open)
    }
}

impl Directory {
    /// The path of what has this name in it.
    pub(in crate::image::import) fn child(&self, name: &[u8]) -> Vec<u8> {
        child(&self.path, name)
    }
}

/// The path of what has a name in a directory.
pub(super) fn child(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}

/// The path of what is open, without symbolic links.
pub(super) fn real_path(fd: BorrowedFd<'_>) -> nix::Result<Vec<u8>> {
    readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()).as_str()).map(OsStringExt::into_vec)
}
