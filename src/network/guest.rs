//! The address of a guest on a tap: that of the tap's number in its network. Anybody can ask.

use std::net::Ipv4Addr;

use super::error::Error;
use super::links::{addresses, all};
use crate::isolate::netlink::Netlink;
use crate::workload::Ipv4Prefix;

/// The address of the guest on this tap, and its gateway's. None if the tap belongs to no network of
/// duplex's.
///
/// # Errors
/// What the kernel said, or that the network has fewer addresses than taps.
pub(crate) fn of_guest(tap: &str) -> Result<Option<(Ipv4Prefix, Ipv4Addr)>, Error> {
    let netlink = Netlink::open().map_err(Error::refused("", "ask the kernel"))?;
    let interfaces = all(&netlink).map_err(Error::refused("", "list interfaces"))?;
    let bridge = interfaces
        .iter()
        .find(|link| link.name == tap && link.is_marked)
        .and_then(|link| interfaces.iter().find(|other| link.bridge == Some(other.index)))
        .filter(|bridge| bridge.is_marked && bridge.is_complete);
    let Some(bridge) = bridge else { return Ok(None) };
    let number =
        tap.strip_prefix(&bridge.name).and_then(|rest| rest.strip_prefix('p')?.parse::<u16>().ok());
    let known = addresses(&netlink).map_err(Error::refused("", "list addresses"))?;
    let subnet = known.iter().find(|(index, _)| *index == bridge.index).map(|(_, subnet)| *subnet);
    let (Some(subnet), Some(number)) = (subnet, number) else { return Ok(None) };
    let own = subnet.guest(number).ok_or_else(|| Error::Full(tap.to_owned(), subnet))?;
    Ok(Some((own, subnet.gateway())))
}
