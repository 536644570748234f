//! The host kernel's isolation primitives, one a file.
//!
//! What is to happen is a value first ([`Namespaces`], [`Attributes`], [`Program`]) and is applied
//! second, so that a plan can be looked at and tested without privilege.

pub mod apparmor;
pub(crate) mod calls;
pub mod capabilities;
pub mod cgroups;
pub(crate) mod dispositions;
mod file_system;
mod fork;
pub mod hardening;
mod identified;
mod identity;
#[cfg(test)]
mod in_child;
pub(crate) mod interfaces;
pub mod landlock;
mod loop_device;
pub(crate) mod mounting;
mod mounts;
mod namespaces;
pub(crate) mod netlink;
mod network;
mod privileges;
mod process;
mod program;
pub(crate) mod provisions;
pub mod rlimits;
pub mod seccomp;
mod spawn;
mod title;
pub(crate) mod traffic;

pub(crate) use file_system::FileSystem;
pub(crate) use fork::{fork, fork_whole};
pub use identified::Identified;
pub(crate) use identity::is_master_of_all_files;
pub(crate) use loop_device::LoopDevice;
pub use mounts::{
    Attributes, attach, attach_over, bind, clone_tree, detach, follow_only, make_read_only,
    map_owners, restrict, tmpfs, tmpfs_with,
};
pub use namespaces::{IdentityMap, Namespaces};
pub(crate) use namespaces::{map_range, map_self};
pub(crate) use network::bring_loopback_up;
pub use privileges::Privileges;
pub use process::Process;
pub(crate) use process::{open_pidfd, send_signal};
pub use program::Program;
pub(crate) use title::Title;
