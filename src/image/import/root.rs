//! The root file system that is being unpacked. Nothing here leads out of it, whatever symbolic links
//! lie in it: paths are resolved by openat2(2) as if this directory were `/`, and names are only ever
//! looked up in directories that are open.

use std::collections::{HashMap, HashSet};
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::rc::Rc;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, readlink};
use nix::sys::stat::{
    FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmodat, fstatat, makedev, mkdirat, mknodat,
    utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, geteuid, linkat, symlinkat, unlinkat};

use super::tar::{Attributes, Device, Time};
use super::{ImportError, limits};
use crate::failure::{Failure, Step};

/// openat2(2) may ask for another try when somebody renames something meanwhile.
const TRIES: u32 = 64;

/// A directory below the root, or the root.
pub(super) struct Directory {
    fd: OwnedFd,
    /// Its path without symbolic links, from the root; empty for the root.
    path: Vec<u8>,
}

/// What to do about symbolic links on the way to a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    /// They are followed, below the root.
    Followed,
    /// There must be none.
    Refused,
}

/// What an ordinary user's image, or any, has to do without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Device nodes that may not be made here.
    pub devices: u64,
    /// Extended attributes that may not be set here, or that an image must not have.
    pub attributes: u64,
    /// Sockets in a directory.
    pub sockets: u64,
    /// Whether files belong to the user, and not to whom the image says.
    pub owners: bool,
}

/// The names that a layer has added: an unguessable digest of the path of each.
#[derive(Default)]
pub(super) struct Added {
    keys: RandomState,
    paths: HashSet<u64>,
}

impl Added {
    pub(super) fn insert(&mut self, path: &[u8]) {
        self.paths.insert(self.keys.hash_one(path));
    }

    fn contains(&self, path: &[u8]) -> bool {
        self.paths.contains(&self.keys.hash_one(path))
    }
}

/// The root.
pub(super) struct Root {
    top: Rc<Directory>,
    /// The directory that the root lies in, and the root's name there.
    outside: OwnedFd,
    name: CString,
    /// The root's path, which those of all directories in it begin with.
    place: Vec<u8>,
    /// The directory that was looked up last, by what it was called.
    recent: Option<(Vec<u8>, Links, Rc<Directory>)>,
    /// When directories were changed: unpacking changes that, so it is set at the end.
    times: HashMap<Vec<u8>, (u64, Time)>,
    pub(super) left_out: LeftOut,
}

impl Root {
    /// Opens an empty directory to unpack into.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let open = || -> nix::Result<_> {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            let (parent, name) = path.parent().zip(path.file_name()).ok_or(Errno::EINVAL)?;
            let outside = openat(AT_FDCWD, parent, flags, Mode::empty())?;
            let name = CString::new(name.as_bytes()).map_err(|_| Errno::EINVAL)?;
            let fd = openat(&outside, name.as_c_str(), flags | OFlag::O_NOFOLLOW, Mode::empty())?;
            let place = real_path(fd.as_fd())?;
            Ok((outside, name, fd, place))
        };
        let (outside, name, fd, place) = open().step_with(|| format!("open {}", path.display()))?;
        let left_out = LeftOut { owners: !geteuid().is_root(), ..LeftOut::default() };
        let top = Rc::new(Directory { fd, path: Vec::new() });
        let mut root =
            Self { top, outside, name, place, recent: None, times: HashMap::new(), left_out };
        let attributes = Attributes { mode: 0o755, ..Attributes::default() };
        root.set_root_attributes(&attributes)?;
        root.times.clear();
        Ok(root)
    }

    /// The directory with these names; `None` if it is not there.
    pub(super) fn find(
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
            other => other.step_with(|| format!("open {}", super::shown(&path)))?,
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
    pub(super) fn find_or_make(
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
        self.set_attributes_at(parent.fd.as_fd(), name, SFlag::S_IFDIR, &attributes, None)?;
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

    fn open_below(&self, path: &[u8], links: Links) -> nix::Result<OwnedFd> {
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

    /// Makes a directory; one that is there stays, anything else gives way.
    pub(super) fn make_directory(
        &mut self,
        parent: &Directory,
        name: &[u8],
    ) -> Result<(), ImportError> {
        if stat(parent.fd.as_fd(), name)?.is_some_and(|found| found.is_directory) {
            return Ok(());
        }
        self.clear(parent, name)?;
        let made = mkdirat(&parent.fd, name, Mode::S_IRWXU);
        Ok(made.step_with(|| make_step(&parent.child(name)))?)
    }

    /// Makes an empty file in the place of whatever is there.
    pub(super) fn make_file(
        &mut self,
        parent: &Directory,
        name: &[u8],
    ) -> Result<File, ImportError> {
        self.clear(parent, name)?;
        let flags =
            OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&parent.fd, name, flags, Mode::S_IRUSR | Mode::S_IWUSR);
        Ok(file.step_with(|| make_step(&parent.child(name)))?.into())
    }

    /// Makes a symbolic link in the place of whatever is there. Where it leads does not matter here.
    pub(super) fn make_symlink(
        &mut self,
        parent: &Directory,
        name: &[u8],
        target: &[u8],
    ) -> Result<(), ImportError> {
        self.clear(parent, name)?;
        let made = symlinkat(target, &parent.fd, name);
        Ok(made.step_with(|| make_step(&parent.child(name)))?)
    }

    /// Makes a FIFO, or a device node; false where that is not allowed, and then it is counted.
    pub(super) fn make_special(
        &mut self,
        parent: &Directory,
        name: &[u8],
        kind: SFlag,
        device: Device,
    ) -> Result<bool, ImportError> {
        self.clear(parent, name)?;
        let number = makedev(device.major.into(), device.minor.into());
        match mknodat(&parent.fd, name, kind, Mode::S_IRUSR | Mode::S_IWUSR, number) {
            Err(Errno::EPERM) if kind != SFlag::S_IFIFO => {
                self.left_out.devices += 1;
                Ok(false)
            }
            other => {
                other.step_with(|| make_step(&parent.child(name)))?;
                Ok(true)
            }
        }
    }

    /// Gives a file another name, in the place of whatever has that.
    pub(super) fn make_link(
        &mut self,
        parent: &Directory,
        name: &[u8],
        target: (&Directory, &[u8]),
    ) -> Result<(), ImportError> {
        let path = parent.child(name);
        let (directory, file) = target;
        let Some(found) = stat(directory.fd.as_fd(), file)? else {
            return Err(refused(&path, "it is a hard link to what is not there"));
        };
        if found.is_directory {
            return Err(refused(&path, "it is a hard link to a directory"));
        }
        if stat(parent.fd.as_fd(), name)?.is_some_and(|own| own.inode == found.inode) {
            // The same file already.
            return Ok(());
        }
        self.clear(parent, name)?;
        let linked = linkat(&directory.fd, file, &parent.fd, name, AtFlags::empty());
        Ok(linked.step_with(|| make_step(&path))?)
    }

    /// Removes what has this name, with all below it.
    fn clear(&mut self, parent: &Directory, name: &[u8]) -> Result<(), ImportError> {
        if stat(parent.fd.as_fd(), name)?.is_some() {
            self.hide(parent, name, &Added::default())?;
        }
        Ok(())
    }

    /// Removes what has this name, with all below it, but for what has been added.
    pub(super) fn hide(
        &mut self,
        parent: &Directory,
        name: &[u8],
        added: &Added,
    ) -> Result<(), ImportError> {
        // It may lead through what goes away.
        self.recent = None;
        let path = parent.child(name);
        remove(parent.fd.as_fd(), name, &path, added)
            .step_with(|| format!("remove {}", super::shown(&path)))?;
        Ok(())
    }

    /// Removes all that is in a directory, but for what has been added.
    pub(super) fn hide_all(
        &mut self,
        directory: &Directory,
        added: &Added,
    ) -> Result<(), ImportError> {
        self.recent = None;
        remove_below(directory.fd.as_fd(), b".", &directory.path, added)
            .step_with(|| format!("empty {}", super::shown(&directory.path)))?;
        Ok(())
    }

    /// Gives what has this name its attributes.
    pub(super) fn set_attributes(
        &mut self,
        parent: &Directory,
        name: &[u8],
        kind: SFlag,
        attributes: &Attributes,
    ) -> Result<(), ImportError> {
        let path = (kind == SFlag::S_IFDIR).then(|| parent.child(name));
        self.set_attributes_at(parent.fd.as_fd(), name, kind, attributes, path)?;
        Ok(())
    }

    /// Gives the root its attributes.
    pub(super) fn set_root_attributes(&mut self, attributes: &Attributes) -> Result<(), Failure> {
        let outside = self.outside.try_clone().step("open the root's parent")?;
        let name = self.name.clone();
        let path = Some(Vec::new());
        self.set_attributes_at(outside.as_fd(), name.as_bytes(), SFlag::S_IFDIR, attributes, path)
    }

    /// `path`: of a directory whose time is to be kept.
    fn set_attributes_at(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        kind: SFlag,
        attributes: &Attributes,
        path: Option<Vec<u8>>,
    ) -> Result<(), Failure> {
        let step = |what: &str| format!("set the {what} of {}", super::shown(name));
        if !self.left_out.owners {
            let owner = (Some(Uid::from_raw(attributes.uid)), Some(Gid::from_raw(attributes.gid)));
            fchownat(parent, name, owner.0, owner.1, AtFlags::AT_SYMLINK_NOFOLLOW)
                .step_with(|| step("owner"))?;
        }
        if kind != SFlag::S_IFLNK {
            // The name is that of what has just been made: no symbolic link. After the owner, of
            // which a change takes set-user-id away.
            let mode = Mode::from_bits_truncate(attributes.mode | self.own_permissions(kind));
            fchmodat(parent, name, mode, FchmodatFlags::FollowSymlink)
                .step_with(|| step("mode"))?;
        }
        for (key, value) in &attributes.xattrs {
            self.set_xattr(parent, name, key, value).step_with(|| step("extended attributes"))?;
        }
        match path {
            Some(path) => {
                let inode = stat(parent, name)?.map(|found| found.inode);
                self.times.extend(inode.map(|inode| (path, (inode, attributes.mtime))));
                Ok(())
            }
            None => set_time(parent, name, attributes.mtime).step_with(|| step("time")),
        }
    }

    /// What an ordinary user has to be allowed, to use the image and to remove it.
    fn own_permissions(&self, kind: SFlag) -> u32 {
        match kind {
            _ if !self.left_out.owners => 0,
            SFlag::S_IFDIR => 0o700,
            _ => 0o600,
        }
    }

    /// Those that mean something to the host's kernel or to overlayfs beyond the image are left out.
    fn set_xattr(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        key: &[u8],
        value: &[u8],
    ) -> io::Result<()> {
        let path = [format!("/proc/self/fd/{}/", parent.as_raw_fd()).as_bytes(), name].concat();
        let set = || xattr::set(OsStr::from_bytes(&path), OsStr::from_bytes(key), value);
        let allowed = (key.starts_with(b"user.") && !key.starts_with(b"user.overlay."))
            || key == b"security.capability"
            || key.starts_with(b"system.posix_acl_");
        let result = if allowed { set() } else { Err(io::ErrorKind::Unsupported.into()) };
        match result {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied
                ) || error.raw_os_error() == Some(libc::ENOTSUP) =>
            {
                self.left_out.attributes += 1;
                Ok(())
            }
            other => other,
        }
    }

    /// Sets the times of the directories that are still there.
    pub(super) fn finish(mut self) -> Result<LeftOut, Failure> {
        for (path, (inode, time)) in std::mem::take(&mut self.times) {
            let step = || format!("set the time of {}", super::shown(&path));
            let names: Vec<&[u8]> = path.split(|b| *b == b'/').filter(|n| !n.is_empty()).collect();
            let Some((name, parents)) = names.split_last() else {
                set_time(self.outside.as_fd(), self.name.as_bytes(), time).step_with(step)?;
                continue;
            };
            let parent = match self
                .open_below(&[b".".as_slice(), &parents.join(&b'/')].join(&b'/'), Links::Refused)
            {
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => continue,
                other => other.step_with(step)?,
            };
            if stat(parent.as_fd(), name)?.is_some_and(|it| it.inode == inode) {
                set_time(parent.as_fd(), name, time).step_with(step)?;
            }
        }
        Ok(self.left_out)
    }
}

impl Directory {
    /// The path of what has this name in it.
    pub(super) fn child(&self, name: &[u8]) -> Vec<u8> {
        child(&self.path, name)
    }
}

fn child(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}

struct Found {
    inode: u64,
    is_directory: bool,
}

/// What has a name, not following it.
fn stat(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Found>, Failure> {
    let step = || format!("look at {}", super::shown(name));
    match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => Ok(None),
        other => {
            let stat = other.step_with(step)?;
            let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
            Ok(Some(Found { inode: stat.st_ino, is_directory: kind == SFlag::S_IFDIR }))
        }
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

fn set_time(parent: BorrowedFd<'_>, name: &[u8], time: Time) -> nix::Result<()> {
    let time = TimeSpec::new(time.seconds, time.nanoseconds.into());
    utimensat(parent, name, &time, &time, UtimensatFlags::NoFollowSymlink)
}

fn real_path(fd: BorrowedFd<'_>) -> nix::Result<Vec<u8>> {
    readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()).as_str()).map(OsStringExt::into_vec)
}

fn make_step(path: &[u8]) -> String {
    format!("make {}", super::shown(path))
}

fn refused(path: &[u8], reason: &str) -> ImportError {
    ImportError::malformed(format!("entry {}", super::shown(path)), reason)
}
