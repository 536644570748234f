//! The shared-kernel half: a command behind namespaces, with the image as its root.
//!
//! What is to be done is a [plan](plan) first, a list of [steps](step) that can be printed. A part of
//! it is done [outside](start) by duplex itself; the rest by the container's [PID 1](pid1), a copy of
//! duplex that executes nothing, and goes on to serve the session that the command is in. So streams,
//! signals, exit status and further commands are as in the VM half: it is the same code.

mod kernel_files;
mod layers;
mod look;
mod mounts;
mod network;
mod openings;
mod pid1;
mod plan;
mod process;
mod start;
mod step;
mod users;
mod volumes;
mod wall;

pub(crate) use network::{Attachment, Network};
pub(crate) use openings::Openings;
pub(crate) use plan::{Plan, Volume, Wanted};
pub(crate) use start::{Container, Times};
pub(crate) use users::USERS;
