//! What can be wrong with a control group.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use thiserror::Error;

use super::controller::Controller;
use crate::workload::LimitError;

/// A group can't be had, or not as it was wanted.
#[derive(Debug, Error)]
pub enum Error {
    /// Limits that contradict each other.
    #[error(transparent)]
    Limits(#[from] LimitError),
    /// No name for a directory.
    #[error(
        "'{0}' is no name for a control group: give letters, digits and any of _.- after the first"
    )]
    Name(String),
    /// Nothing here has this controller.
    #[error(
        "the control group controller '{0}' is not available: mount it, or boot the host with \
         systemd.unified_cgroup_hierarchy=1; in a container, have it delegated; or do without the option"
    )]
    NotAvailable(Controller),
    /// The controller is there, for others.
    #[error(
        "no control group with the controller '{0}' may be changed by this user: run as root, with /sys/fs/cgroup mounted for writing, or where \
         systemd delegates groups: systemd-run --user --scope -p Delegate=yes duplex …; or do without \
         the option"
    )]
    NotPermitted(Controller),
    /// CPUs that the host does not have.
    #[error("the CPUs {wanted} are not all there: this host gives out {available}")]
    Cpus {
        /// What was asked for.
        wanted: String,
        /// What there is.
        available: String,
    },
    /// A rate for something else.
    #[error("{} is not a block device: give the node of a whole disk", .0.display())]
    NotABlockDevice(PathBuf),
    /// A rate for a part of a disk.
    #[error("{} is a part of a disk, and rates are limited on whole disks: name the disk", .0.display())]
    Partition(PathBuf),
    /// The group was made for other limits.
    #[error(
        "'{0}' can't be limited in a group that was made without that: start the instance with a limit \
         of that kind"
    )]
    NotInGroup(Controller),
    /// Version 1 without a freezer.
    #[error("the group can't be stopped: it was made without the controller 'freezer'")]
    NoFreezer,
    /// Something that takes no time took too long.
    #[error("the processes of {} did not {what} within {seconds} s: look for one in state D", path.display())]
    Slow {
        /// The group.
        path: PathBuf,
        /// What was waited for.
        what: &'static str,
        /// How long.
        seconds: u64,
    },
    /// A system call failed.
    #[error("cannot {step}: {source}{}", hint(.source))]
    System {
        /// What was to be done.
        step: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Error {
    /// A step that failed.
    pub(super) fn at(step: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let step = step.into();
        move |source| Self::System { step, source }
    }
}

/// What the kernel means.
fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EEXIST) => {
            " (a group of this name is there: choose another, or remove that one)"
        }
        Some(Errno::ENOENT) => " (this kernel does not have that, or the group has been removed)",
        Some(Errno::EBUSY) => {
            " (processes are in the way: of a limit, their use of memory; of passing controllers down, \
             those directly in that group, which have to be moved into another below it)"
        }
        Some(Errno::EAGAIN | Errno::ENOSPC) => " (as many groups as are permitted exist)",
        Some(Errno::EROFS | Errno::EACCES | Errno::EPERM) => {
            " (run as root, or have a group delegated)"
        }
        _ => "",
    }
}
