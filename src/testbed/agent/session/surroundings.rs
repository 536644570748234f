//! The files that a session's command named.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::super::NAMED;
use crate::failure::{Failure, Step};
use crate::isolate::{self, Attributes};
use crate::testbed::protocol::{Mount, Start};

/// Makes everything visible where the command expects it. All of it is private to the session's
/// mount namespace and ends with it.
pub(super) fn prepare(start: &Start) -> Result<(), Failure> {
    for wanted in &start.mounts {
        // An image can't be written to: a copy in memory can, and is sent back in the end.
        let placed = if start.from_image && wanted.write { copy(wanted) } else { place(wanted) };
        placed.step_with(|| format!("make {} visible", wanted.at.display()))?;
    }
    for (number, export) in &start.descriptors {
        open_as(*number, *export).step_with(|| format!("open what /dev/fd/{number} names"))?;
    }
    Ok(())
}

/// Waits until what was written to the named files is on the host's side, and there on its disk.
pub(super) fn sync(mounts: &[Mount]) -> Result<(), Failure> {
    for written in mounts.iter().filter(|mount| mount.write) {
        sync_file_system(&written.at)
            .step_with(|| format!("flush {} to the host", written.at.display()))?;
    }
    Ok(())
}

fn sync_file_system(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    // SAFETY: the descriptor is open during the call, which touches no memory.
    Errno::result(unsafe { libc::syncfs(file.as_raw_fd()) })?;
    // Through FUSE, syncfs reaches the host's cache; fsync goes all the way for the file itself.
    file.sync_all()
}

fn source(export: u64) -> PathBuf {
    Path::new(NAMED).join(export.to_string())
}

fn place(wanted: &Mount) -> io::Result<()> {
    let source = source(wanted.export);
    // The place may not exist here: it lies in a tree that the host does not show, or came into
    // being after the testbed looked.
    if let Some(parent) = wanted.at.parent() {
        fs::create_dir_all(parent)?;
    }
    if fs::metadata(&source)?.is_dir() {
        fs::create_dir_all(&wanted.at)?;
    } else {
        OpenOptions::new().append(true).create(true).open(&wanted.at).map(drop).or_else(exists)?;
    }
    let tree = isolate::clone_tree(None, &source)?;
    isolate::restrict(
        &tree,
        Attributes { read_only: !wanted.write, no_devices: true, ..Attributes::default() },
    )?;
    isolate::attach(tree, &wanted.at)
}

fn copy(wanted: &Mount) -> io::Result<()> {
    if let Some(parent) = wanted.at.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::copy(source(wanted.export), &wanted.at).map(drop)
}

/// A place that is there but can't be opened for writing will do as well.
fn exists(error: io::Error) -> io::Result<()> {
    match error.raw_os_error() {
        Some(libc::EROFS | libc::ETXTBSY | libc::EACCES | libc::EPERM) => Ok(()),
        _ => Err(error),
    }
}

/// Opens an export so that the command inherits it under this number.
fn open_as(number: i32, export: u64) -> io::Result<()> {
    let file = File::open(source(export))?;
    // SAFETY: only numbers from 3 up to the port's own, which was moved above, come here: the
    // client's side checks, and this side checks again.
    let placed = unsafe {
        if (3..super::PORT_ABOVE).contains(&number) {
            libc::dup2(file.as_raw_fd(), number)
        } else {
            -1
        }
    };
    Errno::result(placed)?;
    if placed == file.as_raw_fd() {
        // It happened to get the very number; keep it open and let the command inherit it.
        nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()))?;
        std::mem::forget(file);
    }
    Ok(())
}
