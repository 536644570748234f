//! Interfaces and their addresses, as far as networks for guests need them.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::unistd::Pid;

use super::subnet::Subnet;
use crate::isolate::netlink::Netlink;
use crate::workload::MacAddress;

/// The mark of all interfaces that are made here: their group, which they have from their first moment
/// on ("du" in ASCII).
pub(super) const GROUP: u32 = 0x6475;
/// The alias of a bridge that is complete; one without is being made or removed, or was when that
/// was interrupted.
pub(super) const COMPLETE: &str = "duplex network";

/// An interface of this host.
#[derive(Clone, Debug)]
pub(super) struct Interface {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) bridge: Option<u32>,
    pub(super) is_bridge: bool,
    pub(super) is_marked: bool,
    pub(super) is_complete: bool,
    /// An instance's port has its name there.
    pub(super) alias: String,
    /// Whether it has a carrier: for a tap, whether a VM has it open.
    pub(super) has_carrier: bool,
}

impl Interface {
    fn from(message: LinkMessage) -> Interface {
        let mut interface = Interface {
            index: message.header.index,
            name: String::new(),
            bridge: None,
            is_bridge: false,
            is_marked: false,
            is_complete: false,
            alias: String::new(),
            has_carrier: message.header.flags.contains(LinkFlags::LowerUp),
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => interface.name = name,
                LinkAttribute::Controller(index) => interface.bridge = Some(index),
                LinkAttribute::Group(group) => interface.is_marked = group == GROUP,
                LinkAttribute::IfAlias(alias) => {
                    interface.is_complete = alias == COMPLETE;
                    interface.alias = alias;
                }
                LinkAttribute::LinkInfo(infos) => {
                    interface.is_bridge = infos.contains(&LinkInfo::Kind(InfoKind::Bridge));
                }
                _ => {}
            }
        }
        interface
    }
}

/// All interfaces.
pub(super) fn all(netlink: &Netlink) -> io::Result<Vec<Interface>> {
    let messages = netlink.dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    let links = messages.into_iter().filter_map(|message| match message {
        RouteNetlinkMessage::NewLink(link) => Some(Interface::from(link)),
        _ => None,
    });
    Ok(links.collect())
}

/// The IPv4 addresses of all interfaces: an interface's index, and its network.
pub(super) fn addresses(netlink: &Netlink) -> io::Result<Vec<(u32, Subnet)>> {
    let mut request = AddressMessage::default();
    request.header.family = AddressFamily::Inet;
    let messages = netlink.dump(RouteNetlinkMessage::GetAddress(request))?;
    let mut addresses = Vec::new();
    for message in messages {
        let RouteNetlinkMessage::NewAddress(message) = message else { continue };
        for attribute in &message.attributes {
            if let AddressAttribute::Local(IpAddr::V4(address)) = attribute {
                let subnet = Subnet::of_gateway(*address, message.header.prefix_len);
                addresses.push((message.header.index, subnet));
            }
        }
    }
    Ok(addresses)
}

/// Makes a bridge with the mark. Its address is its own: else it would be that of one of its ports, and
/// change as they come and go.
pub(super) fn make_bridge(netlink: &Netlink, name: &str, mac: MacAddress) -> io::Result<()> {
    let mut link = LinkMessage::default();
    link.attributes.extend([
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Group(GROUP),
        LinkAttribute::Address(mac.0.to_vec()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
    ]);
    netlink.request(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
}

/// Makes two interfaces that are each other's end (veth(4)): one with the mark, on a bridge, and one
/// called eth0, in the network namespace of another process.
pub(super) fn make_pair(
    netlink: &Netlink,
    name: &str,
    bridge: u32,
    mac: MacAddress,
    inside: Pid,
) -> io::Result<()> {
    let mut peer = LinkMessage::default();
    peer.attributes.extend([
        LinkAttribute::IfName("eth0".to_owned()),
        LinkAttribute::Address(mac.0.to_vec()),
        LinkAttribute::NetNsPid(inside.as_raw().unsigned_abs()),
    ]);
    let mut link = LinkMessage::default();
    link.attributes.extend([
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Group(GROUP),
        LinkAttribute::Controller(bridge),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ]);
    netlink.request(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
}

/// Says whether a bridge is complete.
pub(super) fn set_complete(netlink: &Netlink, index: u32, complete: bool) -> io::Result<()> {
    let mut link = LinkMessage::default();
    link.header.index = index;
    let alias = if complete { COMPLETE } else { "" };
    link.attributes.push(LinkAttribute::IfAlias(alias.to_owned()));
    netlink.request(RouteNetlinkMessage::SetLink(link), 0)
}

/// Removes an interface.
pub(super) fn remove(netlink: &Netlink, index: u32) -> io::Result<()> {
    let mut link = LinkMessage::default();
    link.header.index = index;
    netlink.request(RouteNetlinkMessage::DelLink(link), 0)
}
