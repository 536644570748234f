//! The guest's network: devices for the VMM, and what its init is to make of them.

use std::error::Error;
use std::net::Ipv4Addr;

use super::super::order::VmOrder;
use super::{Held, NOTHING_TO_PUBLISH, NetworkArgs, by_passt, join, on_bridge, reachable, reserve};
use crate::cli::interface::with_addresses;
use crate::host::{self, Resolver};
use crate::init::{Addressing, Network};
use crate::network::{self, Inside, Newcomer};
use crate::workload::{Address, AddressedNet, Net, NetBackend, PublishedPort};

/// Decides the addresses of all interfaces.
///
/// # Errors
/// A tap whose network has no address for it, or an option that goes with another.
pub(in crate::cli::run) fn decide(
    args: &NetworkArgs,
) -> Result<(Vec<Net>, Network), Box<dyn Error>> {
    let wanted = &args.nets;
    let mut nets = with_addresses(wanted.iter().map(|addressed| &addressed.net));
    if !args.publish.is_empty() && publishing(&nets).is_none() {
        return Err(NOTHING_TO_PUBLISH.into());
    }
    if args.net_rate.is_some() && nets.is_empty() {
        return Err("--net-rate: there is no interface to limit: add --net".into());
    }
    for net in &mut nets {
        net.bytes_per_second = net.bytes_per_second.or(args.net_rate);
    }
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
            NetBackend::Bridge(name) => {
                network::check_name(name)?;
                // The address comes with its place there, when it starts.
                (Addressing::None, reachable(&resolver))
            }
            NetBackend::Host => {
                return Err("--net host: a VM has a network of its own: give user, bridge or \
                            tap=NAME, or add --container"
                    .into());
            }
            NetBackend::None => continue,
        };
        network.interfaces.push(addressing);
        network.servers.extend(addressed.dns.map_or(servers, |server| vec![server]));
    }
    network.search = resolver.search;
    Ok((nets, network))
}

/// Which of them leads to published ports: the first that can.
fn publishing(nets: &[Net]) -> Option<usize> {
    let can = |net: &Net| matches!(net.backend, NetBackend::User | NetBackend::Bridge(_));
    nets.iter().position(can)
}

/// Gives a guest its places on the networks that it is to join. Returns what belongs to them, the
/// interfaces for the VMM, and what its init is to make of them.
///
/// # Errors
/// There is no such network, no address left, or a port that is taken.
pub(in crate::cli::run) fn connect(
    order: &VmOrder,
) -> Result<(Held, Vec<Net>, Network), Box<dyn Error>> {
    let mut nets = order.nets.clone();
    let setting = order.subject.start.setting.as_ref();
    let mut network = setting.map(|setting| setting.network.clone()).unwrap_or_default();
    let reserved = reserve(&order.published)?;
    let publishing = publishing(&nets);
    let (mut places, mut bridge_publishes) = (Vec::new(), false);
    for (number, net) in nets.iter_mut().enumerate() {
        let NetBackend::Bridge(name) = &net.backend else { continue };
        let published = publishing == Some(number);
        bridge_publishes |= published;
        let place = join(
            name,
            &Newcomer {
                name: &order.subject.about.name,
                end: Inside::Tap,
                mac: net.mac,
                // The device has a limiter of its own, for both ways.
                rate: None,
                published: if published { &order.published } else { &[] },
            },
        )?;
        net.backend = NetBackend::Tap(place.port.clone());
        net.mac = Some(place.mac);
        if let Some(addressing) = network.interfaces.get_mut(number) {
            *addressing = on_bridge(&place);
        }
        places.push(place);
    }
    // passt takes them itself, in a moment.
    let reserved = reserved.filter(|_| bridge_publishes);
    Ok((Held::places(places, reserved), nets, network))
}

/// The ports that an interface of a guest's leads to.
pub(in crate::cli::run) fn published_by(order: &VmOrder, number: usize) -> &[PublishedPort] {
    if publishing(&order.nets) == Some(number) { &order.published } else { &[] }
}

/// What was asked for; else what the tap's network has for it; else what a DHCP server has.
fn on_tap(
    name: &str,
    wanted: &AddressedNet,
    resolver: &Resolver,
) -> Result<(Addressing, Vec<Ipv4Addr>), Box<dyn Error>> {
    Ok(match wanted.address {
        Some(Address::None) => (Addressing::None, Vec::new()),
        Some(Address::Dhcp) => (Addressing::Dhcp, Vec::new()),
        Some(Address::Fixed(own)) => {
            (Addressing::Fixed { own, gateway: wanted.gateway }, reachable(resolver))
        }
        None => match network::of_guest(name)? {
            Some((own, gateway)) => {
                (Addressing::Fixed { own, gateway: Some(gateway) }, reachable(resolver))
            }
            None => (Addressing::Dhcp, Vec::new()),
        },
    })
}
