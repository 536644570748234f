//! PID 1 of instances, and the agent of `duplex run` in them.
//!
//! A VM's init is this very program. It lays a writable layer over the image's disk, makes
//! that the root, starts the command as its child, and stays: it reaps what the command leaves
//! behind, passes streams and signals on, and says how it all ended. All it needs to know comes over
//! one vsock connection, which it makes to the host: a [session](crate::session). Further sessions,
//! those of `duplex exec`, come over connections from the host, and have a process each.

mod command;
mod dhcp;
mod first;
mod further;
mod memory;
mod modules;
pub(crate) mod names;
pub(crate) mod network;
mod pid1;
mod protocol;
pub(crate) mod root;
mod tasks;
mod users;

use std::process::ExitCode;

pub(crate) use first::serve;
pub(crate) use further::Door;
pub(crate) use modules::load_modules;
pub(crate) use protocol::{
    Addressing, FURTHER_PORT, Layer, Message, Network, SESSION_PORT, Setting, Start, Volume,
};

pub use pid1::main;

/// What tells a `duplex-init` that goes with a duplex, in its file and by `--version`: both are of the
/// same sources.
pub(crate) const STAMP: &str = concat!("duplex-init of sources ", env!("DUPLEX_SOURCES"));

/// The whole of `duplex-init`: what of this program a guest needs, in a third of the size. A guest
/// reads its init from a disk, so that counts.
pub fn program() -> ExitCode {
    match std::env::args_os().nth(1) {
        Some(argument) if argument == "--version" => {
            eprintln!("{STAMP}");
            ExitCode::SUCCESS
        }
        _ => main(),
    }
}
