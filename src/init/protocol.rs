//! What the host and init say to each other, beside what every session does.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::isolate::rlimits::Ulimit;
use crate::session::protocol::Invocation;
use crate::workload::{Ipv4Prefix, Tmpfs};

/// The vsock port of the host on which a guest's init finds its session.
pub(crate) const SESSION_PORT: u32 = 1024;

/// The vsock port of the guest on which further sessions begin.
pub(crate) const FURTHER_PORT: u32 = 1025;

/// A command, and who runs it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    /// The command itself. `HOME` is added where it is missing.
    pub(crate) invocation: Invocation,
    /// Who runs it, as docker's `--user` has it: a user's name or number, with `:` and a group's
    /// after it or not. None is root.
    pub(crate) user: Option<String>,
    /// What the guest is to be before the command is started. None for further sessions.
    pub(crate) setting: Option<Setting>,
}

/// The surroundings of all commands of a guest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Setting {
    /// The guest's name.
    pub(crate) hostname: String,
    /// Where what is written goes.
    pub(crate) layer: Layer,
    /// Directories of the host.
    pub(crate) volumes: Vec<Volume>,
    /// File systems in memory.
    pub(crate) tmpfs: Vec<Tmpfs>,
    /// How large /dev/shm may be, in bytes.
    pub(crate) shm_size: Option<u64>,
    /// Whether the root cannot be written to.
    pub(crate) read_only: bool,
    /// What there is beside loopback.
    pub(crate) network: Network,
    /// How many processes and threads commands may have, all together.
    pub(crate) tasks: Option<u64>,
    /// Resource limits of each command.
    pub(crate) ulimits: Vec<Ulimit>,
}

/// The network of a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Network {
    /// Its interfaces: eth0, eth1 and so on.
    pub(crate) interfaces: Vec<Addressing>,
    /// Who is asked for names, before those that DHCP servers tell of.
    pub(crate) servers: Vec<Ipv4Addr>,
    /// The domains that short names are looked up in.
    pub(crate) search: Vec<String>,
    /// The largest packet, where that is not what the interfaces come with.
    pub(crate) mtu: Option<u16>,
}

/// Where an interface has its address from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Addressing {
    /// The host says it.
    Fixed { own: Ipv4Prefix, gateway: Option<Ipv4Addr> },
    /// A DHCP server says it.
    Dhcp,
    /// It has none.
    None,
}

/// The writable layer over the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Layer {
    /// In the guest's memory: it vanishes.
    Memory,
    /// On the second disk: it stays.
    Disk,
}

/// A directory of the host, as a virtio-fs device.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Volume {
    /// The device's tag.
    pub(crate) tag: String,
    /// Where it appears.
    pub(crate) at: PathBuf,
    /// Whether it can't be written to.
    pub(crate) read_only: bool,
}

/// What init tells the host.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Message {
    /// The guest ran out of memory, and its kernel killed so many processes for it.
    OutOfMemory { killed: u64 },
}
