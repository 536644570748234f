//! Mounting with errors that say what was to go where.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use nix::mount::{MsFlags, mount};

use crate::failure::{Failure, Step};

/// For file systems in which neither devices nor set-user-id programs have a place.
pub(crate) const INERT: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);

/// Mounts a file system.
pub(crate) fn put(
    source: &str,
    kind: &str,
    target: &str,
    flags: MsFlags,
    options: &str,
) -> Result<(), Failure> {
    mount(Some(source), target, Some(kind), flags, Some(options))
        .step_with(|| format!("mount {kind} at {target}"))
}

/// Makes what is at `source`, with all its mounts, visible at `target` too.
pub(crate) fn bring_along(source: &str, target: &str) -> Result<(), Failure> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(source), target, None::<&str>, flags, None::<&str>)
        .step_with(|| format!("bring {source} along to {target}"))
}

/// Makes directories below another, and those that lead there.
pub(crate) fn make_directories(below: &str, names: &[&str]) -> Result<(), Failure> {
    for name in names {
        let path = Path::new(below).join(name);
        fs::create_dir_all(&path).step_with(|| format!("make {}", path.display()))?;
    }
    Ok(())
}

/// Gives an overlay's upper layer the attributes of the lower one's root: the overlay's root has them.
pub(crate) fn take_after(upper: &Path, lower: &Path) -> io::Result<()> {
    let metadata = fs::metadata(lower)?;
    match chown(upper, Some(metadata.uid()), Some(metadata.gid())) {
        // Somebody whom the user namespace does not know owns it: then the upper one's is its root's.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
        other => other?,
    }
    fs::set_permissions(upper, metadata.permissions())
}
