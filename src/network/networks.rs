//! The networks of this host: listed, cleaned up after interrupted commands, removed.

use std::fs::File;
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};

use super::error::Error;
use super::links::Interface;
use super::nft::Kind;
use super::{Member, Network, Port, links, nft};
use crate::isolate::netlink::Netlink;
use crate::state::new_file;

/// Held by each command, so that none takes for incomplete what another is making.
const LOCK: &str = "/run/duplex-network.lock";

/// Networks of this host, while nobody else changes them.
pub struct Networks {
    pub(super) netlink: Netlink,
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

    pub(super) fn lock() -> Result<Networks, Error> {
        if !nix::unistd::geteuid().is_root() {
            return Err(Error::NotPermitted);
        }
        let locked = |error| Error::Lock(LOCK, error);
        let file = new_file(Path::new(LOCK)).map_err(locked)?;
        let lock = Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, error)| locked(error.into()))?;
        let netlink = Netlink::open().map_err(Error::refused("", "ask the kernel"))?;
        Ok(Networks { netlink, _lock: lock })
    }

    pub(super) fn interfaces(&self) -> Result<Vec<Interface>, Error> {
        links::all(&self.netlink).map_err(Error::refused("", "list interfaces"))
    }

    /// Removes ports of instances that were killed, bridges that are not complete, taps without a bridge,
    /// and tables without a network or a port.
    pub(super) fn clean(&self) -> Result<(), Error> {
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

    pub(super) fn remove_link(&self, link: &Interface) -> Result<(), Error> {
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

    pub(super) fn find(&self, name: &str) -> Result<Option<Network>, Error> {
        Ok(self.list()?.into_iter().find(|network| network.name == name))
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

/// Whether it is one of those taps that a network was made with.
fn is_tap_of(network: &str, port: &Interface) -> bool {
    let number = port.name.strip_prefix(network).and_then(|rest| rest.strip_prefix('p'));
    number.is_some_and(|number| number.parse::<u8>().is_ok())
}
