//! What an interface gets from whoever sets it up: that it is up, an address, a route.

use std::fs;
use std::io;
use std::net::Ipv4Addr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
    RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink::Netlink;

/// An interface, by its index, and its hardware address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) index: u32,
    /// Empty where it has none.
    pub(crate) hardware: Vec<u8>,
}

/// The interface of this name, as sysfs has it.
pub(crate) fn find(name: &str) -> io::Result<Interface> {
    let read = |what: &str| fs::read_to_string(format!("/sys/class/net/{name}/{what}"));
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let index = read("ifindex")?.trim().parse().map_err(invalid)?;
    let address = read("address")?;
    let bytes = address.trim().split(':').filter(|digits| !digits.is_empty());
    let hardware = bytes.map(|digits| u8::from_str_radix(digits, 16)).collect::<Result<_, _>>();
    Ok(Interface { index, hardware: hardware.map_err(invalid)? })
}

/// Changes an interface, and sets it up.
pub(crate) fn set_up(netlink: &Netlink, index: u32, changes: Vec<LinkAttribute>) -> io::Result<()> {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    link.attributes = changes;
    netlink.request(RouteNetlinkMessage::SetLink(link), 0)
}

/// Gives an interface an address in a network whose prefix has so many bits, 32 at most.
pub(crate) fn add_address(
    netlink: &Netlink,
    index: u32,
    address: Ipv4Addr,
    bits: u8,
) -> io::Result<()> {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = bits;
    message.header.index = index;
    let hosts = u32::MAX.checked_shr(bits.into()).unwrap_or(0);
    message.attributes.extend([
        AddressAttribute::Local(address.into()),
        AddressAttribute::Address(address.into()),
        AddressAttribute::Broadcast(Ipv4Addr::from_bits(address.to_bits() | hosts)),
    ]);
    netlink.request(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// Sends what goes to no nearer network to a gateway behind this interface, wherever its address lies.
pub(crate) fn add_default_route(
    netlink: &Netlink,
    index: u32,
    gateway: Ipv4Addr,
) -> io::Result<()> {
    let mut route = RouteMessage::default();
    route.header.address_family = AddressFamily::Inet;
    route.header.table = RouteHeader::RT_TABLE_MAIN;
    route.header.protocol = RouteProtocol::Boot;
    route.header.scope = RouteScope::Universe;
    route.header.kind = RouteType::Unicast;
    route.header.flags = RouteFlags::Onlink;
    route
        .attributes
        .extend([RouteAttribute::Gateway(RouteAddress::Inet(gateway)), RouteAttribute::Oif(index)]);
    netlink.request(RouteNetlinkMessage::NewRoute(route), NLM_F_CREATE | NLM_F_EXCL)
}
