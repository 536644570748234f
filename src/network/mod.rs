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
//! | `nft` | tables of the packet filter |
//! | `nat` | masquerading, published ports, and who may send as whom |
//! | `guest` | the address of a guest on a tap |
//! | `instance` | an instance on a network, with a port of its own |
//! | `reserved` | published ports, held |
//! | `user` | the network as this user has it, for containers, by pasta |
//! | `error` | what can go wrong |

mod error;
mod guest;
mod instance;
mod links;
mod nat;
mod nft;
mod reserved;
mod subnet;
mod user;

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;

use netlink_packet_route::link::LinkAttribute;
use nix::fcntl::{Flock, FlockArg};

use crate::host;
use crate::isolate::interfaces;
use crate::isolate::netlink::Netlink;
use crate::vm::devices::virtio::net::tuntap::NewTap;
use crate::workload::{MacAddress, NetBackend};
pub use error::Error;
pub(crate) use guest::of_guest;
pub use instance::{Inside, Newcomer, Place, join, sweep};
use links::Interface;
use nft::Kind;
pub use reserved::{ReserveError, Reserved, reserve};
pub use subnet::{Subnet, SubnetError};
pub(crate) use user::UserLink;

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
        let networks = Networks::lock()?;
        networks.clean()?;
        Ok(networks)
    }

    fn lock() -> Result<Networks, Error> {
        if !nix::unistd::geteuid().is_root() {
            return Err(Error::NotPermitted);
        }
        let locked = |error| Error::Lock(LOCK, error);
        let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(LOCK);
        let lock = Flock::lock(file.map_err(locked)?, FlockArg::LockExclusive)
            .map_err(|(_, error)| locked(error.into()))?;
        let netlink = Netlink::open().map_err(Error::refused("", "ask the kernel"))?;
        Ok(Networks { netlink, _lock: lock })
    }

    fn interfaces(&self) -> Result<Vec<Interface>, Error> {
        links::all(&self.netlink).map_err(Error::refused("", "list interfaces"))
    }

    /// Removes ports of instances that were killed, bridges that are not complete, taps without a bridge,
    /// and tables without a network or a port.
    fn clean(&self) -> Result<(), Error> {
        self.remove_abandoned()?;
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
        let is_owned = |name: &str| left.iter().any(|link| link.is_marked && link.name == name);
        nft::remove(nft::all()?.into_iter().filter(|table| !is_owned(&table.owner)))
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
        let mut owners = vec![bridge.name.clone()];
        for port in self.interfaces()? {
            if port.is_marked && port.bridge == Some(bridge.index) {
                self.remove_link(&port)?;
                owners.push(port.name);
            }
        }
        nft::remove(nft::all()?.into_iter().filter(|table| owners.contains(&table.owner)))?;
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
        let tables = nft::all()?;
        let bridges = interfaces.iter().filter(|link| link.is_marked && link.is_bridge);
        let network = |bridge: &Interface| {
            let on_it = |port: &&Interface| port.is_marked && port.bridge == Some(bridge.index);
            let (taps, others): (Vec<&Interface>, Vec<&Interface>) =
                interfaces.iter().filter(on_it).partition(|port| is_tap_of(&bridge.name, port));
            let port = |tap: &Interface| Port { tap: tap.name.clone(), used: tap.has_carrier };
            let mut ports: Vec<Port> = taps.into_iter().map(port).collect();
            ports.sort_by_key(|port| (port.tap.len(), port.tap.clone()));
            let member =
                |port: &Interface| Member { name: port.alias.clone(), port: port.name.clone() };
            let mut instances: Vec<Member> = others.into_iter().map(member).collect();
            instances.sort_by_key(|member| member.name.clone());
            let own = addresses.iter().find(|(index, _)| *index == bridge.index);
            Network {
                name: bridge.name.clone(),
                subnet: own.map(|(_, subnet)| *subnet),
                nat: tables.contains(&nft::Table::new(Kind::Network, &bridge.name)),
                ports,
                instances,
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
            let mac =
                MacAddress::derived(&host::machine_id(), &NetBackend::Bridge(name.clone()), 0);
            links::make_bridge(&self.netlink, name, mac).map_err(refused("make the bridge"))?;
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
            nat::masquerade(name, subnet)?;
            // The bridge's own switch; that of the whole host is its owner's.
            let path = format!("/proc/sys/net/ipv4/conf/{name}/forwarding");
            fs::write(path, "1").map_err(refused("let the bridge forward"))?;
        }
        for number in 0..wanted.ports {
            let tap = format!("{name}p{number}");
            let others = self.interfaces()?;
            if others.iter().any(|link| link.name == tap) {
                continue;
            }
            let same_address = format!("{name}c{number}");
            if let Some(port) = others.iter().find(|link| link.name == same_address) {
                return Err(Error::AddressInUse(name.clone(), tap, port.alias.clone()));
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
        if let Some(network) = self.find(name)?.filter(|_| !force) {
            if let Some(port) = network.ports.iter().find(|port| port.used) {
                return Err(Error::InUse(name.to_owned(), port.tap.clone()));
            }
            if let Some(member) = network.instances.into_iter().next() {
                return Err(Error::HasInstance(name.to_owned(), member.name));
            }
        }
        self.take_apart(&bridge)
    }
}

/// Whether packets go from one interface to another at all.
pub fn host_forwards() -> bool {
    let switch = fs::read_to_string("/proc/sys/net/ipv4/ip_forward");
    switch.is_ok_and(|text| text.trim() == "1")
}

/// Whether it is one of those taps that a network was made with.
fn is_tap_of(network: &str, port: &Interface) -> bool {
    let number = port.name.strip_prefix(network).and_then(|rest| rest.strip_prefix('p'));
    number.is_some_and(|number| number.parse::<u8>().is_ok())
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
