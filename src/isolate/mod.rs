//! The host kernel's isolation primitives, one a file.
//!
//! What is to happen is a value first ([`Namespaces`], [`Attributes`], [`Program`]) and is applied
//! second, so that a plan can be looked at and tested without privilege.

pub mod cgroups;
mod identity;
pub(crate) mod interfaces;
pub(crate) mod mounting;
mod mounts;
mod namespaces;
pub(crate) mod netlink;
mod network;
mod privileges;
mod process;
mod program;
mod spawn;

pub(crate) use identity::is_master_of_all_files;
pub use mounts::{
    Attributes, attach, bind, clone_tree, detach, follow_only, restrict, tmpfs, tmpfs_with,
};
pub use namespaces::{IdentityMap, Namespaces};
pub(crate) use network::bring_loopback_up;
pub use privileges::Privileges;
pub use process::Process;
pub(crate) use process::{open_pidfd, send_signal};
pub use program::Program;
