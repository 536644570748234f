//! Why a network for guests cannot be had.

use std::io;

use thiserror::Error;

use super::subnet::Subnet;

/// What went wrong, and what would mend it.
#[derive(Debug, Error)]
pub enum Error {
    /// Only root may make interfaces.
    #[error(
        "networks take root (CAP_NET_ADMIN): sudo $(command -v duplex) network …, or give guests --net user"
    )]
    NotPermitted,
    /// Not a name.
    #[error(
        "'{0}' is no name of a network: give 1 to 11 letters, digits, '-' or '_', beginning with a \
         letter"
    )]
    Name(String),
    /// Somebody else's interface.
    #[error("there is an interface {0} that duplex did not make: give another name")]
    NotOurs(String),
    /// No such network.
    #[error(
        "there is no network {0}: 'duplex network ls', as root, shows those there are, and 'duplex \
         network create' makes one"
    )]
    Missing(String),
    /// It is there, but with other addresses.
    #[error("network {0} has {1}: remove it first ('duplex network rm {0}'), or give another name")]
    Other(String, Subnet),
    /// An interface of this host has addresses of it.
    #[error("{0} overlaps with {1} of interface {2}: give another with --subnet")]
    Overlap(Subnet, Subnet, String),
    /// All that would be tried.
    #[error(
        "every network from 10.87.0.0/24 to 10.87.255.0/24 overlaps with one of this host's: give one with --subnet"
    )]
    NoSubnet,
    /// It has more taps than addresses.
    #[error("tap {0} has no address in {1}: give the guest one with ip=ADDRESS/BITS, or ip=none")]
    Full(String, Subnet),
    /// All addresses are somebody's.
    #[error(
        "network {0} has no address left in {1}: end an instance on it, or make a larger one \
         ('duplex network create NAME --subnet ADDRESS/BITS')"
    )]
    NoAddress(String, Subnet),
    /// A tap's address is an instance's.
    #[error(
        "network {0}: instance {2} has the address of tap {1}: end it first ('duplex stop {2}')"
    )]
    AddressInUse(String, String, String),
    /// An instance is on it.
    #[error("network {0} is in use: end instance {1} first ('duplex stop {1}'), or give --force")]
    HasInstance(String, String),
    /// A VM has one of its taps.
    #[error("network {0} is in use: end the VM on tap {1} first, or give --force")]
    InUse(String, String),
    /// No nft.
    #[error(
        "networks need nft, which is not installed: 'apt-get install nftables'; one of taps alone does \
         without NAT ('duplex network create --no-nat')"
    )]
    NoNft,
    /// It said no.
    #[error("rules for packets: nft: {0}")]
    Nft(String),
    /// The kernel said no.
    #[error("network {0}: cannot {1}: {2}")]
    Refused(String, &'static str, #[source] io::Error),
    /// No lock.
    #[error("{0} cannot be locked: {1}")]
    Lock(&'static str, #[source] io::Error),
}

impl Error {
    /// Says what could not be done with a network.
    pub(super) fn refused(
        network: &str,
        what: &'static str,
    ) -> impl FnOnce(io::Error) -> Error + use<> {
        let network = network.to_owned();
        move |error| match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Error::NotPermitted,
            _ => Error::Refused(network, what, error),
        }
    }
}
