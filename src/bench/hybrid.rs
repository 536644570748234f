//! Hosts with control groups of both versions.

use std::io;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::host::Hierarchies;

/// crun refuses hosts that have control groups of both versions: in mounts of this thread's own, and of what it
/// starts, those of the second are taken away, for all contenders alike. Elsewhere nothing is done.
///
/// # Errors
/// Mounts of its own can't be had: crun will refuse the host.
pub fn leave() -> io::Result<()> {
    let found = Hierarchies::find();
    let Some(unified) = found.unified.filter(|_| !found.legacy.is_empty()) else { return Ok(()) };
    let nothing = None::<&Path>;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
    Ok(umount2(&unified.point, MntFlags::empty())?)
}
