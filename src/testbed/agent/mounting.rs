//! Mounting with errors that say what was to go where.

use std::fs;
use std::path::Path;

use nix::mount::{MsFlags, mount};

use crate::failure::{Failure, Step};

/// For file systems in which neither devices nor set-user-id programs have a place.
pub(super) const INERT: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);

/// Whether the keeper put this word on the kernel command line.
pub(super) fn on_command_line(word: &str) -> Result<bool, Failure> {
    let words = fs::read_to_string("/proc/cmdline").step("read the kernel command line")?;
    Ok(words.split_whitespace().any(|found| found == word))
}

/// Mounts a file system.
pub(super) fn put(
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
pub(super) fn bring_along(source: &str, target: &str) -> Result<(), Failure> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(source), target, None::<&str>, flags, None::<&str>)
        .step_with(|| format!("bring {source} along to {target}"))
}

/// Makes directories below another, and those that lead there.
pub(super) fn make_directories(below: &str, names: &[&str]) -> Result<(), Failure> {
    for name in names {
        let path = Path::new(below).join(name);
        fs::create_dir_all(&path).step_with(|| format!("make {}", path.display()))?;
    }
    Ok(())
}
