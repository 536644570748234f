//! The guest's interfaces: up, with the addresses that the host or a DHCP server has for them.

use std::fs;
use std::net::Ipv4Addr;

use netlink_packet_route::link::LinkAttribute;

use super::dhcp;
use super::protocol::{Addressing, Network};
use crate::failure::{Failure, Step};
use crate::isolate::interfaces::{add_address, add_default_route, find, set_up as bring_up};
use crate::isolate::netlink::Netlink;

/// The C library asks no more servers than these (MAXNS in resolv.h).
const MOST_SERVERS: usize = 3;

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The address of the first interface that has one.
    pub(crate) address: Option<Ipv4Addr>,
    /// Who is asked for names.
    pub(crate) servers: Vec<Ipv4Addr>,
}

/// Sets the interfaces up, one after the other. The first that has a gateway has the default route.
pub(crate) fn set_up(network: &Network, hostname: &str) -> Result<Known, Failure> {
    let mut known = Known { address: None, servers: network.servers.clone() };
    if network.interfaces.is_empty() {
        return Ok(known);
    }
    let netlink = Netlink::open().step("ask the kernel for interfaces")?;
    let mut has_route = false;
    for (number, addressing) in network.interfaces.iter().enumerate() {
        let name = format!("eth{number}");
        let interface = find(&name).step_with(|| format!("find {name}"))?;
        let changes = network.mtu.map(|mtu| LinkAttribute::Mtu(mtu.into()));
        if let Addressing::Fixed { own, .. } = addressing {
            announce_when_up(&name);
            add_address(&netlink, interface.index, own.address, own.bits)
                .step_with(|| format!("give {name} the address {own}"))?;
        }
        bring_up(&netlink, interface.index, changes.into_iter().collect())
            .step_with(|| format!("set {name} up"))?;
        let (own, gateway) = match *addressing {
            Addressing::None => continue,
            Addressing::Fixed { own, gateway } => (own, gateway),
            Addressing::Dhcp => {
                let lease = dhcp::lease(&name, &interface.hardware, hostname)
                    .step_with(|| format!("get an address for {name} by DHCP"))?;
                known.servers.extend(lease.servers);
                let own = lease.own;
                add_address(&netlink, interface.index, own.address, own.bits)
                    .step_with(|| format!("give {name} the address {own}"))?;
                (own, lease.gateway)
            }
        };
        known.address.get_or_insert(own.address);
        if let Some(gateway) = gateway.filter(|_| !has_route) {
            add_default_route(&netlink, interface.index, gateway)
                .step_with(|| format!("reach other networks by {gateway}"))?;
            has_route = true;
        }
    }
    let mut seen = Vec::new();
    known.servers.retain(|server| {
        !seen.contains(server) && {
            seen.push(*server);
            true
        }
    });
    known.servers.truncate(MOST_SERVERS);
    Ok(known)
}

/// Has the kernel send an ARP announcement for the address that the interface then has (arp_notify, Linux,
/// Documentation/networking/ip-sysctl.rst): passt leads connections to nobody whom it has not heard of.
/// Where the setting is not ours to change, the other end needs no such thing.
fn announce_when_up(name: &str) {
    let _ = fs::write(format!("/proc/sys/net/ipv4/conf/{name}/arp_notify"), "1");
}
