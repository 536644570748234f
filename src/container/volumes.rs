//! Directories of the host, as the container sees them.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use super::plan::Volume;
use crate::failure::{Failure, Step as _};
use crate::isolate::{self, Attributes};

/// Opens one, with its owners shown as users of `namespace`, if there is one. For who may mount in the mount
/// namespace that this process is in.
///
/// # Errors
/// The kernel's, with the path.
pub(super) fn open(volume: &Volume, namespace: Option<BorrowedFd<'_>>) -> Result<OwnedFd, Failure> {
    let open = || -> io::Result<OwnedFd> {
        let tree = isolate::clone_tree(None, &volume.host)?;
        let attributes =
            Attributes { read_only: volume.read_only, no_suid: true, no_devices: true };
        isolate::restrict(&tree, attributes)?;
        Ok(tree)
    };
    let host = volume.host.display();
    let tree = open().step_with(|| format!("open the volume {host}"))?;
    if let Some(namespace) = namespace {
        isolate::map_owners(&tree, namespace).step_with(|| {
            format!(
                "show the owners of the volume {host} as the container's (its file system must allow \
                 idmapped mounts, as ext4, xfs, btrfs and, from Linux 6.3 on, tmpfs do)"
            )
        })?;
    }
    Ok(tree)
}
