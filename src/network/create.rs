//! Making a network, or what is missing of it.

use std::fs;

use netlink_packet_route::link::LinkAttribute;

use super::error::Error;
use super::networks::Networks;
use super::subnet::Subnet;
use super::{Network, Wanted, check_name, links, nat};
use crate::host;
use crate::isolate::interfaces;
use crate::vm::devices::virtio::net::tuntap::NewTap;
use crate::workload::{MacAddress, NetBackend};

impl Networks {
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
}
