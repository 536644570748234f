//! The server's process, in its own mount namespace, before it is virtiofsd.

use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use super::{Virtiofsd, raise_file_limit};
use crate::failure::{Failure, Step};
use crate::isolate::{self, Attributes};

/// Serves `path`, as it appears at `cover`, to whoever connects to descriptor 3.
///
/// # Errors
/// Why that cannot be; it does not return otherwise.
pub(crate) fn main(path: &Path, read_only: bool, cover: &Path) -> Result<Infallible, Failure> {
    let virtiofsd = Virtiofsd::find().ok_or(std::io::ErrorKind::NotFound).step("find virtiofsd")?;
    raise_file_limit()?;
    isolate::follow_only().step("separate the mounts from the host's")?;
    let directory = open(path).step_with(|| format!("open {}", path.display()))?;
    let tree = isolate::clone_tree(Some(directory.as_fd()), Path::new(""))
        .step("mount the directory once more")?;
    let attributes = Attributes { read_only, no_suid: true, no_devices: true };
    isolate::restrict(&tree, attributes).step("restrict that mount")?;
    isolate::attach(tree, cover).step("put that mount in its place")?;
    Err(virtiofsd.become_server(cover)).step("start virtiofsd")
}

/// The path was made canonical: a symbolic link in it has come since, and leads elsewhere.
fn open(path: &Path) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    openat2(nix::fcntl::AT_FDCWD, path, how)
}
