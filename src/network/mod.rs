//! Networks for guests, for root: a bridge with an address, taps on it, and NAT for what lies beyond.
//!
//! There is no state but the kernel's. What is made here is known by a mark (its group) from its first
//! moment on, and a bridge gets its alias when it is complete and loses it before it is removed. Each
//! command begins by removing what is not complete, so nothing stays behind one that was killed.
//!
//! | file | idea |
//! |---|---|
//! | `links` | interfaces and addresses |
//! | `subnet` | the addresses of a network |
//! | `nat` | masquerading, by nftables |
//! | `guest` | the address of a guest on a tap |
//! | `error` | what can go wrong |

mod error;
mod guest;
mod links;
mod nat;
mod subnet;

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;

use netlink_packet_route::link::LinkAttribute;
use nix::fcntl::{Flock, FlockArg};

use crate::isolate::interfaces;
use crate::isolate::netlink::Netlink;
use crate::vm::devices::virtio::net::tuntap::NewTap;
pub use error::Error;
pub(crate) use guest::of_guest;
use links::Interface;
pub use subnet::{Subnet, SubnetError};

/// Held by each command, so that none takes for incomplete what another is making.
const LOCK: &str = "/run/duplex-network.lock";
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
}

/// Networks of this host, while nobody else changes them.
pub struct Networks {
    netlink: Netlink,
    _lock: Flock<File>,
}

impl Networks {
    /// Waits for other commands to end, and removes what interrupted ones have left.
    ///
    /// # Errors
    /// Not root, or what the kernel said.
    pub fn open() -> Result<Networks, Error> {
        if !nix::unistd::geteuid().is_root() {
            return Err(Error::NotPermitted);
        }
        let locked = |error| Error::Lock(LOCK, error);
        let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(LOCK);
        let lock = Flock::lock(file.map_err(locked)?, FlockArg::LockExclusive)
            .map_err(|(_, error)| locked(error.into()))?;
        let netlink = Netlink::open().map_err(Error::refused("", "ask the kernel"))?;
        let networks = Networks { netlink, _lock: lock };
        networks.clean()?;
        Ok(networks)
    }

    fn interfaces(&self) -> Result<Vec<Interface>, Error> {
        links::all(&self.netlink).map_err(Error::refused("", "list interfaces"))
    }

    /// Removes bridges that are not complete, taps without a bridge and tables without a network.
    fn clean(&self) -> Result<(), Error> {
        for bridge in self.interfaces()? {
            if bridge.is_marked && bridge.is_bridge && !bridge.is_complete {
                self.take_apart(&bridge)?;
            }
        }
        let left = self.interfaces()?;
        let is_network =
            |index: u32| left.iter().any(|other| other.index == index && other.is_marked);
        for tap in left.iter().filter(|link| link.is_marked && !link.is_bridge) {
            if !tap.bridge.is_some_and(is_network) {
                self.remove_link(tap)?;
            }
        }
        for name in nat::all()? {
            if !left.iter().any(|bridge| bridge.is_marked && bridge.name == name) {
                nat::remove(&name)?;
            }
        }
        Ok(())
    }

    fn remove_link(&self, link: &Interface) -> Result<(), Error> {
        match links::remove(&self.netlink, link.index) {
            // Somebody was faster.
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            other => other.map_err(Error::refused(&link.name, "remove an interface")),
        }
    }

    /// Removes a network, the mark that it is complete first and the bridge last.
    fn take_apart(&self, bridge: &Interface) -> Result<(), Error> {
        links::set_complete(&self.netlink, bridge.index, false)
            .map_err(Error::refused(&bridge.name, "change the bridge"))?;
        for tap in self.interfaces()? {
            if tap.is_marked && tap.bridge == Some(bridge.index) {
                self.remove_link(&tap)?;
            }
        }
        if nat::all()?.contains(&bridge.name) {
            nat::remove(&bridge.name)?;
        }
        self.remove_link(bridge)
    }

    /// The networks.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn list(&self) -> Result<Vec<Network>, Error> {
        let interfaces = self.interfaces()?;
        let addresses =
            links::addresses(&self.netlink).map_err(Error::refused("", "list addresses"))?;
        let tables = nat::all()?;
        let bridges = interfaces.iter().filter(|link| link.is_marked && link.is_bridge);
        let network = |bridge: &Interface| {
            let mut ports: Vec<Port> = interfaces
                .iter()
                .filter(|tap| tap.is_marked && tap.bridge == Some(bridge.index))
                .map(|tap| Port { tap: tap.name.clone(), used: tap.has_carrier })
                .collect();
            ports.sort_by_key(|port| (port.tap.len(), port.tap.clone()));
            let own = addresses.iter().find(|(index, _)| *index == bridge.index);
            Network {
                name: bridge.name.clone(),
                subnet: own.map(|(_, subnet)| *subnet),
                nat: tables.contains(&bridge.name),
                ports,
            }
        };
        Ok(bridges.map(network).collect())
    }

    /// Makes a network, or what is missing of it.
    ///
    /// # Errors
    /// As [`Error`] has them. What was made until then is removed again.
    pub fn create(&self, wanted: &Wanted) -> Result<Network, Error> {
        check_name(&wanted.name)?;
        let existing = self.interfaces()?.into_iter().find(|link| link.name == wanted.name);
        let (new, before) = match &existing {
            Some(link) if link.is_marked && link.is_bridge => (false, self.find(&wanted.name)?),
            Some(_) => return Err(Error::NotOurs(wanted.name.clone())),
            None => (true, None),
        };
        let has = before.as_ref().and_then(|network| network.subnet);
        let subnet = match (has, wanted.subnet) {
            (Some(has), Some(wants)) if has != wants => {
                return Err(Error::Other(wanted.name.clone(), has));
            }
            (Some(has), _) => has,
            (None, wants) => self.choose(wants)?,
        };
        let made = self.make(wanted, subnet, new, has.is_none());
        if made.is_err() && new {
            // The error that counts is the first.
            let _ = self.clean();
        }
        made?;
        self.find(&wanted.name)?.ok_or_else(|| Error::Missing(wanted.name.clone()))
    }

    fn make(&self, wanted: &Wanted, subnet: Subnet, new: bool, bare: bool) -> Result<(), Error> {
        let name = &wanted.name;
        let refused = |what| Error::refused(name, what);
        if new {
            links::make_bridge(&self.netlink, name).map_err(refused("make the bridge"))?;
        }
        let bridge = self.interfaces()?.into_iter().find(|link| link.name == *name);
        let bridge = bridge.ok_or_else(|| Error::Missing(name.clone()))?;
        if bare {
            interfaces::add_address(&self.netlink, bridge.index, subnet.gateway(), subnet.bits())
                .map_err(refused("give the bridge its address"))?;
        }
        let mtu = wanted.mtu.map(|mtu| LinkAttribute::Mtu(mtu.into()));
        let changes = mtu.clone().into_iter().collect();
        interfaces::set_up(&self.netlink, bridge.index, changes)
            .map_err(refused("set the bridge up"))?;
        if wanted.nat {
            nat::make(name, subnet)?;
            // The bridge's own switch; that of the whole host is its owner's.
            let path = format!("/proc/sys/net/ipv4/conf/{name}/forwarding");
            fs::write(path, "1").map_err(refused("let the bridge forward"))?;
        }
        for number in 0..wanted.ports {
            let tap = format!("{name}p{number}");
            if self.interfaces()?.iter().any(|link| link.name == tap) {
                continue;
            }
            let new = NewTap::make(&tap, wanted.owner).map_err(refused("make a tap"))?;
            let link = self.interfaces()?.into_iter().find(|link| link.name == tap);
            let link = link.ok_or_else(|| Error::Missing(tap.clone()))?;
            let mut changes =
                vec![LinkAttribute::Group(links::GROUP), LinkAttribute::Controller(bridge.index)];
            changes.extend(mtu.clone());
            interfaces::set_up(&self.netlink, link.index, changes)
                .map_err(refused("set a tap up"))?;
            // With its mark and on its bridge: now it may stay.
            new.stay().map_err(refused("keep a tap"))?;
        }
        links::set_complete(&self.netlink, bridge.index, true)
            .map_err(refused("complete the bridge"))
    }

    fn find(&self, name: &str) -> Result<Option<Network>, Error> {
        Ok(self.list()?.into_iter().find(|network| network.name == name))
    }

    /// The addresses: those asked for, or the first that nobody has.
    fn choose(&self, wanted: Option<Subnet>) -> Result<Subnet, Error> {
        let taken =
            links::addresses(&self.netlink).map_err(Error::refused("", "list addresses"))?;
        let overlap = |subnet: &Subnet| taken.iter().find(|(_, other)| other.overlaps(*subnet));
        let Some(wanted) = wanted else {
            return Subnet::usual().find(|subnet| overlap(subnet).is_none()).ok_or(Error::NoSubnet);
        };
        let Some((index, other)) = overlap(&wanted) else { return Ok(wanted) };
        let interfaces = self.interfaces()?;
        let owner = interfaces.iter().find(|link| link.index == *index);
        Err(Error::Overlap(wanted, *other, owner.map(|link| link.name.clone()).unwrap_or_default()))
    }

    /// Removes a network.
    ///
    /// # Errors
    /// There is none of this name, or a VM has a tap of it and `force` is not given.
    pub fn remove(&self, name: &str, force: bool) -> Result<(), Error> {
        let bridge = self.interfaces()?.into_iter().find(|link| link.name == name);
        let bridge = match bridge {
            Some(link) if link.is_marked && link.is_bridge => link,
            Some(_) => return Err(Error::NotOurs(name.to_owned())),
            None => return Err(Error::Missing(name.to_owned())),
        };
        let ports = self.find(name)?.map(|network| network.ports).unwrap_or_default();
        if let Some(port) = ports.iter().find(|port| port.used).filter(|_| !force) {
            return Err(Error::InUse(name.to_owned(), port.tap.clone()));
        }
        self.take_apart(&bridge)
    }
}

/// Whether packets go from one interface to another at all.
pub fn host_forwards() -> bool {
    let switch = fs::read_to_string("/proc/sys/net/ipv4/ip_forward");
    switch.is_ok_and(|text| text.trim() == "1")
}

/// A name that is safe in every place that it goes to.
fn check_name(name: &str) -> Result<(), Error> {
    let known = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let fits = (1..=MAX_NAME).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(known);
    fits.then_some(()).ok_or_else(|| Error::Name(name.to_owned()))
}
