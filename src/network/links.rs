//! Interfaces and their addresses, as far as networks for guests need them.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{
    DecodeError, Emitable, NLM_F_CREATE, NLM_F_EXCL, NlasIterator, Parseable, parse_u32,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkHeader, LinkInfo, LinkMessage,
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
    /// Reads no more of a message than is asked here: knowing all kinds of links and their settings would make
    /// this program a fifth of a megabyte larger.
    fn read(payload: &[u8]) -> Result<Interface, DecodeError> {
        let header = LinkHeader::parse(payload)?;
        let mut interface = Interface {
            index: header.index,
            name: String::new(),
            bridge: None,
            is_bridge: false,
            is_marked: false,
            is_complete: false,
            alias: String::new(),
            has_carrier: header.flags.contains(LinkFlags::LowerUp),
        };
        let attributes = payload.get(header.buffer_len()..).unwrap_or_default();
        for attribute in NlasIterator::new(attributes) {
            let attribute = attribute?;
            let value = attribute.value();
            match attribute.kind() {
                libc::IFLA_IFNAME => interface.name = text(value),
                libc::IFLA_MASTER => interface.bridge = Some(parse_u32(value)?),
                libc::IFLA_GROUP => interface.is_marked = parse_u32(value)? == GROUP,
                libc::IFLA_IFALIAS => {
                    interface.alias = text(value);
                    interface.is_complete = interface.alias == COMPLETE;
                }
                libc::IFLA_LINKINFO => interface.is_bridge = is_bridge(value)?,
                _ => {}
            }
        }
        Ok(interface)
    }
}

/// A name or an alias. Other people's may be in any encoding.
fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()
}

/// Whether what a link says of its kind is that it is a bridge.
fn is_bridge(link_info: &[u8]) -> Result<bool, DecodeError> {
    for attribute in NlasIterator::new(link_info) {
        let attribute = attribute?;
        if attribute.kind() == libc::IFLA_INFO_KIND {
            return Ok(text(attribute.value()) == "bridge");
        }
    }
    Ok(false)
}

/// All interfaces.
pub(super) fn all(netlink: &Netlink) -> io::Result<Vec<Interface>> {
    let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
    netlink.dump(request, libc::RTM_NEWLINK, Interface::read)
}

/// The IPv4 addresses of all interfaces: an interface's index, and its network.
pub(super) fn addresses(netlink: &Netlink) -> io::Result<Vec<(u32, Subnet)>> {
    let mut request = AddressMessage::default();
    request.header.family = AddressFamily::Inet;
    let request = RouteNetlinkMessage::GetAddress(request);
    let messages = netlink.dump(request, libc::RTM_NEWADDR, AddressMessage::parse)?;
    let mut addresses = Vec::new();
    for message in messages {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn emitted(attributes: Vec<LinkAttribute>) -> Vec<u8> {
        let mut link = LinkMessage::default();
        link.header.index = 7;
        link.header.flags = LinkFlags::Up | LinkFlags::LowerUp;
        link.attributes = attributes;
        let mut bytes = vec![0; link.buffer_len()];
        link.emit(&mut bytes);
        bytes
    }

    #[test]
    fn a_link_is_read_as_far_as_is_asked() {
        let bytes = emitted(vec![
            LinkAttribute::IfName("lab".into()),
            LinkAttribute::Mtu(1500),
            LinkAttribute::Group(GROUP),
            LinkAttribute::IfAlias(COMPLETE.into()),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
        ]);
        let link = Interface::read(&bytes).unwrap();
        assert_eq!((link.index, link.name.as_str(), link.bridge), (7, "lab", None));
        assert!(link.is_bridge && link.is_marked && link.is_complete && link.has_carrier);
        let bytes = emitted(vec![
            LinkAttribute::Controller(3),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth)]),
        ]);
        let link = Interface::read(&bytes).unwrap();
        assert_eq!(link.bridge, Some(3));
        assert!(!link.is_bridge && !link.is_marked && !link.is_complete);
    }

    #[test]
    fn anothers_odd_alias_is_no_error_and_a_cut_message_is() {
        let mut bytes = emitted(vec![LinkAttribute::IfAlias("xy".into())]);
        let at = bytes.windows(2).position(|pair| pair == b"xy").unwrap();
        bytes[at] = 0xFF;
        assert_eq!(Interface::read(&bytes).unwrap().alias, "\u{FFFD}y");
        assert!(Interface::read(&bytes[..8]).is_err());
        assert!(Interface::read(&bytes[..bytes.len() - 4]).is_err());
    }
}
