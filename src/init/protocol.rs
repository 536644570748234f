//! What the host and init say to each other, beside what every session does.

use serde::{Deserialize, Serialize};

use crate::session::protocol::Invocation;

/// The vsock port of the host on which a guest's init finds its session.
pub(crate) const SESSION_PORT: u32 = 1024;

/// A command and its surroundings.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    /// The command itself. `HOME` is added where it is missing.
    pub(crate) invocation: Invocation,
    /// Who runs it, as docker's `--user` has it: a user's name or number, with `:` and a group's
    /// after it or not. None is root.
    pub(crate) user: Option<String>,
    /// The guest's name.
    pub(crate) hostname: String,
    /// Where what is written goes.
    pub(crate) layer: Layer,
}

/// The writable layer over the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Layer {
    /// In the guest's memory: it vanishes.
    Memory,
    /// On the second disk: it stays.
    Disk,
}

/// What init tells the host.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Message {
    /// The guest ran out of memory, and its kernel killed so many processes for it.
    OutOfMemory { killed: u64 },
}
