//! An instance on a network: a port of its own on the bridge, with the address that goes with it.
//!
//! A port is called after its network and a number, which is that of its address. It is an instance's as
//! long as a file of its name is locked; that ends with the process that runs the instance, however that
//! ends, and what is left then the next command removes.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use netlink_packet_route::link::LinkAttribute;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Pid;

use super::error::Error;
use super::links::{self, Interface};
use super::nat::End;
use super::nft::{self, Table};
use super::{Networks, Subnet, Wanted, check_name};
use crate::isolate::{interfaces, traffic};
use crate::state::{gone, new_file};
use crate::vm::devices::virtio::net::tuntap::NewTap;
use crate::workload::{Ipv4Prefix, MacAddress, NetBackend, PublishedPort};

/// The files that say which ports are in use; only root can change them.
const PORTS: &str = "/run/duplex-network";
/// How many numbers there are: behind the longest name there is room for a letter and three digits.
const MOST: u16 = 1000;

/// Who joins a network.
#[derive(Clone, Copy, Debug)]
pub struct Newcomer<'a> {
    /// The instance's name.
    pub name: &'a str,
    /// What is at the other end of its port.
    pub end: Inside,
    /// Its hardware address; without, one that goes with its address.
    pub mac: Option<MacAddress>,
    /// The most bytes a second that it receives.
    pub rate: Option<u64>,
    /// Its ports that this host publishes.
    pub published: &'a [PublishedPort],
}

/// What is at the other end of a port.
#[derive(Clone, Copy, Debug)]
pub enum Inside {
    /// An interface called eth0, in the network namespace of this process.
    Namespace(Pid),
    /// Whoever opens the port, which is a tap.
    Tap,
}

/// An instance's place on a network. It is given up when this is dropped.
#[derive(Debug)]
pub struct Place {
    /// The interface on the bridge.
    pub port: String,
    /// The instance's address.
    pub own: Ipv4Prefix,
    /// The bridge's.
    pub gateway: Ipv4Addr,
    /// The instance's hardware address.
    pub mac: MacAddress,
    _lock: Flock<File>,
}

/// Joins a network, which is made if it is the default one and missing.
///
/// # Errors
/// As [`Error`] has them. Nothing is left then.
pub fn join(network: &str, newcomer: &Newcomer<'_>) -> Result<Place, Error> {
    check_name(network)?;
    let networks = Networks::lock()?;
    networks.remove_abandoned()?;
    if let Some((bridge, subnet)) = networks.complete(network)? {
        return networks.join(&bridge, subnet, newcomer);
    }
    if network == NetBackend::DEFAULT_BRIDGE {
        networks.clean()?;
        networks.create(&Wanted::without_taps(network))?;
    }
    let made = networks.complete(network)?;
    let (bridge, subnet) = made.ok_or_else(|| Error::Missing(network.to_owned()))?;
    networks.join(&bridge, subnet, newcomer)
}

/// Removes what instances that were killed have left on networks. Where none is on any, this is a look
/// into a directory; no program is started unless there is something to remove.
///
/// # Errors
/// What the kernel said.
pub fn sweep() -> Result<(), Error> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    for port in port_files()? {
        let free = is_free(&port).map_err(Error::refused(&port, "ask whether a port is in use"))?;
        if free {
            return Networks::open().map(drop);
        }
    }
    Ok(())
}

impl Networks {
    /// The bridge of a network that is complete, and its addresses.
    fn complete(&self, network: &str) -> Result<Option<(Interface, Subnet)>, Error> {
        let is_it = |link: &Interface| link.name == network && link.is_marked && link.is_complete;
        let Some(bridge) = self.interfaces()?.into_iter().find(is_it) else { return Ok(None) };
        let addresses =
            links::addresses(&self.netlink).map_err(Error::refused(network, "list addresses"))?;
        let own = addresses.into_iter().find(|(index, _)| *index == bridge.index);
        Ok(own.map(|(_, subnet)| (bridge, subnet)))
    }

    fn join(
        &self,
        bridge: &Interface,
        subnet: Subnet,
        newcomer: &Newcomer<'_>,
    ) -> Result<Place, Error> {
        let network = bridge.name.as_str();
        let (port, own, lock) = self.choose_port(network, subnet, &self.interfaces()?)?;
        let mac = newcomer.mac.unwrap_or_else(|| mac_of(own.address));
        let gateway = subnet.gateway();
        let end = End {
            port: &port,
            network,
            subnet,
            address: own.address,
            mac,
            instance: newcomer.name,
        };
        if let Err(error) = self.connect(bridge, &end, newcomer) {
            // The error that counts is the first.
            let _ = self.remove_port(&port);
            return Err(error);
        }
        Ok(Place { port, own, gateway, mac, _lock: lock })
    }

    fn connect(
        &self,
        bridge: &Interface,
        end: &End<'_>,
        newcomer: &Newcomer<'_>,
    ) -> Result<(), Error> {
        let refused = |what| Error::refused(end.network, what);
        let mut changes = vec![LinkAttribute::IfAlias(newcomer.name.to_owned())];
        let tap = match newcomer.end {
            Inside::Namespace(pid) => {
                links::make_pair(&self.netlink, end.port, bridge.index, end.mac, pid)
                    .map_err(refused("make a pair of interfaces (veth)"))?;
                None
            }
            Inside::Tap => {
                let mark = LinkAttribute::Group(links::GROUP);
                changes.extend([mark, LinkAttribute::Controller(bridge.index)]);
                Some(NewTap::make(end.port, None).map_err(refused("make a tap"))?)
            }
        };
        let link = self.interfaces()?.into_iter().find(|link| link.name == end.port);
        let link = link.ok_or_else(|| Error::Missing(end.port.to_owned()))?;
        // The rules come before the first packet.
        end.make_rules(newcomer.published)?;
        if let Some(rate) = newcomer.rate {
            traffic::limit(&self.netlink, link.index, rate)
                .map_err(refused("limit the rate of an interface (tc-tbf)"))?;
        }
        interfaces::set_up(&self.netlink, link.index, changes).map_err(refused("set a port up"))?;
        tap.map_or(Ok(()), NewTap::stay).map_err(refused("keep a tap"))
    }

    /// A number that nobody has, the highest first: those of taps begin with the lowest.
    fn choose_port(
        &self,
        network: &str,
        subnet: Subnet,
        interfaces: &[Interface],
    ) -> Result<(String, Ipv4Prefix, Flock<File>), Error> {
        let is_there = |name: &str| interfaces.iter().any(|link| link.name == name);
        for number in (0..MOST).rev() {
            let Some(own) = subnet.guest(number) else { continue };
            let port = format!("{network}c{number}");
            if is_there(&port) || is_there(&format!("{network}p{number}")) {
                continue;
            }
            let lock =
                lock(&port).map_err(Error::refused(network, "note that a port is in use"))?;
            if let Some(lock) = lock {
                return Ok((port, own, lock));
            }
        }
        Err(Error::NoAddress(network.to_owned(), subnet))
    }

    /// Removes a port with all that belongs to it.
    fn remove_port(&self, port: &str) -> Result<(), Error> {
        self.remove_ports(&[port.to_owned()])
    }

    fn remove_ports(&self, ports: &[String]) -> Result<(), Error> {
        for link in self.interfaces()? {
            if link.is_marked && !link.is_bridge && ports.contains(&link.name) {
                self.remove_link(&link)?;
            }
        }
        nft::remove(ports.iter().flat_map(|port| Table::of_port(port)))?;
        for port in ports {
            let path = Path::new(PORTS).join(port);
            gone(fs::remove_file(path)).map_err(Error::refused(port, "forget a port"))?;
        }
        Ok(())
    }

    /// Removes the ports of instances that were killed.
    pub(super) fn remove_abandoned(&self) -> Result<(), Error> {
        let mut abandoned = Vec::new();
        let mut locks = Vec::new();
        for port in port_files()? {
            let lock =
                lock(&port).map_err(Error::refused(&port, "ask whether a port is in use"))?;
            if let Some(lock) = lock {
                locks.push(lock);
                abandoned.push(port);
            }
        }
        if abandoned.is_empty() { Ok(()) } else { self.remove_ports(&abandoned) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let removed = Networks::lock().and_then(|networks| networks.remove_port(&self.port));
        if let Err(error) = removed {
            log::warn!("port {} stays for now: {error}", self.port);
        }
    }
}

/// One for each address: whoever gets the address next has it too, so nobody remembers a wrong one.
/// Locally administered, for one station.
fn mac_of(address: Ipv4Addr) -> MacAddress {
    let [a, b, c, d] = address.octets();
    MacAddress([0x02, b'd', a, b, c, d])
}

/// The ports that have a file.
fn port_files() -> Result<Vec<String>, Error> {
    let list = || -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(PORTS) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let names = entries.map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()));
        names.collect()
    };
    list().map_err(|error| Error::Lock(PORTS, error))
}

/// Takes a port, unless it is somebody's. Only while networks are locked: the file may be removed by who
/// has it.
fn lock(port: &str) -> io::Result<Option<Flock<File>>> {
    match DirBuilder::new().mode(0o700).create(PORTS) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    match Flock::lock(new_file(&Path::new(PORTS).join(port))?, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error.into()),
    }
}

/// Whether nobody has this port any more. Who joins at this very moment may take another instead.
fn is_free(port: &str) -> io::Result<bool> {
    match File::open(Path::new(PORTS).join(port)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
        Ok(file) => Ok(Flock::lock(file, FlockArg::LockSharedNonblock).is_ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_go_with_addresses() {
        let mac = mac_of(Ipv4Addr::new(10, 87, 0, 254));
        assert_eq!(mac.to_string(), "02:64:0a:57:00:fe");
        assert_eq!(mac.to_string().parse(), Ok(mac));
    }
}
