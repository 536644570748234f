//! The guest's network: devices for the VMM, and what its init is to make of them.

use std::error::Error;
use std::net::Ipv4Addr;

use crate::cli::interface::with_addresses;
use crate::host::{self, Resolver};
use crate::init::{Addressing, Network};
use crate::network;
use crate::vm::devices::virtio::net::passt::UserNetwork;
use crate::workload::{Address, AddressedNet, Net, NetBackend};

/// Decides the addresses of all interfaces.
///
/// # Errors
/// A tap whose network has no address for it.
pub(super) fn decide(wanted: &[AddressedNet]) -> Result<(Vec<Net>, Network), Box<dyn Error>> {
    let nets = with_addresses(wanted.iter().map(|addressed| &addressed.net));
    let mut network = Network::default();
    if nets.is_empty() {
        return Ok((nets, network));
    }
    let resolver = host::resolver();
    let there = wanted.iter().filter(|addressed| addressed.net.backend != NetBackend::None);
    for (number, addressed) in there.enumerate() {
        let (addressing, servers) = match &addressed.net.backend {
            NetBackend::Tap(name) => on_tap(name, addressed, &resolver)?,
            NetBackend::User => by_passt(number, &resolver),
            NetBackend::None => continue,
        };
        network.interfaces.push(addressing);
        network.servers.extend(addressed.dns.map_or(servers, |server| vec![server]));
    }
    network.search = resolver.search;
    Ok((nets, network))
}

/// What passt has on its other end.
fn by_passt(number: usize, resolver: &Resolver) -> (Addressing, Vec<Ipv4Addr>) {
    let UserNetwork { own, gateway, dns } = UserNetwork::of(number);
    // It passes questions on to the first server of this host, wherever that is.
    let servers = if resolver.servers.is_empty() { Vec::new() } else { vec![dns] };
    (Addressing::Fixed { own, gateway: Some(gateway) }, servers)
}

/// What was asked for; else what the tap's network has for it; else what a DHCP server has.
fn on_tap(
    name: &str,
    wanted: &AddressedNet,
    resolver: &Resolver,
) -> Result<(Addressing, Vec<Ipv4Addr>), Box<dyn Error>> {
    // As docker: one at a loopback address is out of the guest's reach.
    let reachable = || resolver.servers.iter().copied().filter(|a| !a.is_loopback()).collect();
    Ok(match wanted.address {
        Some(Address::None) => (Addressing::None, Vec::new()),
        Some(Address::Dhcp) => (Addressing::Dhcp, Vec::new()),
        Some(Address::Fixed(own)) => {
            (Addressing::Fixed { own, gateway: wanted.gateway }, reachable())
        }
        None => match network::of_guest(name)? {
            Some((own, gateway)) => {
                (Addressing::Fixed { own, gateway: Some(gateway) }, reachable())
            }
            None => (Addressing::Dhcp, Vec::new()),
        },
    })
}
