//! The host's file system as the testbed sees it: every mount read-only, and no /proc, /sys, /dev
//! and /run.
//!
//! virtiofsd serves whatever the kernel lets it, and root in the testbed may ask for anything. So
//! the wall stands in the kernel: in the keeper's mount namespace, below one directory, there are
//! mounts through which nobody can write, and virtiofsd is confined to that directory.

use std::fs;
use std::path::Path;

use crate::failure::{Failure, Step};
use crate::isolate::{self, Attributes};

/// Trees that describe this running system rather than what is installed on it. Devices, kernel
/// knobs and the sockets of services stay here.
const ABSENT: [&str; 4] = ["proc", "sys", "dev", "run"];

/// The read-only view, attached nowhere yet. Prepared before the keeper mounts things of its own,
/// for the view is to be without those.
pub(super) struct Export(std::os::fd::OwnedFd);

impl Export {
    /// Copies the whole tree of mounts and takes the rights away from the copy.
    pub(super) fn prepare() -> Result<Self, Failure> {
        isolate::follow_only().step("separate the mounts from the host's")?;
        let tree = isolate::clone_tree(None, Path::new("/")).step("copy the tree of mounts")?;
        let attributes = Attributes { read_only: true, no_suid: true, no_devices: true };
        isolate::restrict(&tree, attributes).step("make the copied mounts read-only")?;
        Ok(Self(tree))
    }

    /// Makes the copy visible at `target`.
    pub(super) fn attach(self, target: &Path) -> Result<(), Failure> {
        isolate::attach(self.0, target).step("attach the copied mounts")?;
        for name in ABSENT {
            let tree = target.join(name);
            // What is a symbolic link or missing leads nowhere that is not covered.
            if fs::symlink_metadata(&tree).is_ok_and(|metadata| metadata.is_dir()) {
                isolate::tmpfs(&tree, Attributes { read_only: true, ..Attributes::default() })
                    .step_with(|| format!("hide /{name}"))?;
            }
        }
        Ok(())
    }
}
