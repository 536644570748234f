//! Networks for guests, for root: a bridge with an address, taps on it, and NAT for what lies beyond.
//!
//! There is no state but the kernel's, and a locked file for each port that is an instance's. What is
//! made here is known by a mark (its group) from its first moment on, and a bridge gets its alias when it
//! is complete and loses it before it is removed. Each command begins by removing what is not complete,
//! so nothing stays behind one that was killed.
//!
//! | file | idea |
//! |---|---|
//! | `networks` | those that there are: listed, cleaned up, removed |
//! | `create` | making one |
//! | `links` | interfaces and addresses |
//! | `subnet` | the addresses of a network |
//! | `nft` | tables of the packet filter |
//! | `nat` | masquerading, published ports, and who may send as whom |
//! | `guest` | the address of a guest on a tap |
//! | `instance` | an instance on a network, with a port of its own |
//! | `reserved` | published ports, held |
//! | `user` | the network as this user has it, for containers, by pasta |
//! | `error` | what can go wrong |

mod create;
mod error;
mod guest;
mod instance;
mod links;
mod nat;
mod networks;
mod nft;
mod reserved;
mod subnet;
mod user;

use std::fs;

pub use error::Error;
pub(crate) use guest::of_guest;
pub use instance::{Inside, Newcomer, Place, join, sweep};
pub use networks::Networks;
pub use reserved::{ReserveError, Reserved, reserve};
pub use subnet::{Subnet, SubnetError};
pub(crate) use user::UserLink;

/// The longest name: a tap's is a few characters longer, and an interface's has at most 15.
const MAX_NAME: usize = 11;

/// What a network is to be.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The bridge's name.
    pub name: String,
    /// Its addresses; without, the first free of 10.87.N.0/24.
    pub subnet: Option<Subnet>,
    /// How many taps it has, at least.
    pub ports: u8,
    /// Who may use the taps without privilege.
    pub owner: Option<u32>,
    /// The largest packet.
    pub mtu: Option<u16>,
    /// Whether guests reach what lies beyond.
    pub nat: bool,
}

impl Wanted {
    /// What instances need that join it.
    fn without_taps(name: &str) -> Wanted {
        let (name, nat) = (name.to_owned(), true);
        Wanted { name, subnet: None, ports: 0, owner: None, mtu: None, nat }
    }
}

/// An instance on a network.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its port on the bridge.
    pub port: String,
}

/// A tap of a network.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Port {
    /// Its name, for `--net tap=`.
    pub tap: String,
    /// Whether a VM has it.
    pub used: bool,
}

/// A network that there is.
#[derive(Clone, Debug)]
pub struct Network {
    /// The bridge's name.
    pub name: String,
    /// Its addresses.
    pub subnet: Option<Subnet>,
    /// Whether what guests send beyond is masqueraded.
    pub nat: bool,
    /// Its taps.
    pub ports: Vec<Port>,
    /// The instances on it that have a port of their own.
    pub instances: Vec<Member>,
}

/// Whether packets go from one interface to another at all.
pub fn host_forwards() -> bool {
    let switch = fs::read_to_string("/proc/sys/net/ipv4/ip_forward");
    switch.is_ok_and(|text| text.trim() == "1")
}

/// A name that is safe in every place that it goes to.
///
/// # Errors
/// It is none.
pub fn check_name(name: &str) -> Result<(), Error> {
    let known = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let fits = (1..=MAX_NAME).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(known);
    fits.then_some(()).ok_or_else(|| Error::Name(name.to_owned()))
}
