//! Network interfaces of guests, as every command builds and refuses them.

use std::error::Error;

use crate::host;
use crate::vm::devices::virtio::net::link::Link;
use crate::vm::devices::virtio::net::passt::{self, UserNetwork};
use crate::vm::devices::virtio::net::tap::Tap;
use crate::vm::devices::virtio::net::{self, Settings};
use crate::workload::{MacAddress, Net, NetBackend, PublishedPort};

/// Those of `nets` that are any, each with its address.
pub(super) fn with_addresses<'a>(nets: impl Iterator<Item = &'a Net>) -> Vec<Net> {
    let host = host::machine_id();
    let wanted = nets.filter(|net| net.backend != NetBackend::None);
    let with_address = |(number, net): (usize, &Net)| {
        let derived = match net.backend {
            // It comes with its place there.
            NetBackend::Bridge(_) => None,
            _ => Some(MacAddress::derived(&host, &net.backend, number)),
        };
        Net { mac: net.mac.or(derived), ..net.clone() }
    };
    wanted.enumerate().map(with_address).collect()
}

/// Builds the guest's interface number `number`, its other end included. `published` are the ports that
/// lead to a guest which uses the network as its user does.
pub(super) fn build(
    net: &Net,
    number: usize,
    user: Option<&UserNetwork>,
    published: &[PublishedPort],
) -> Result<net::Net, Box<dyn Error>> {
    let (name, link, mtu): (String, Box<dyn Link>, u16) = match &net.backend {
        NetBackend::Tap(name) => {
            let tap = Tap::open(name, net.mtu)?;
            let mtu = tap.mtu();
            (format!("tap {name}"), Box::new(tap), mtu)
        }
        NetBackend::User => {
            let (stream, mtu) = passt::start(net.mtu, user, published)?;
            ("passt".into(), Box::new(stream), mtu)
        }
        other => return Err(format!("--net {other} is no interface of a VM's").into()),
    };
    let settings = Settings {
        name,
        mac: net.mac.unwrap_or_else(|| MacAddress::derived("", &net.backend, number)),
        mtu,
        bytes_per_second: net.bytes_per_second,
        packets_per_second: net.packets_per_second,
        offload: net.offload,
    };
    Ok(net::Net::new(settings, number, link)?)
}

/// The testbed is a machine without a network: neither this host's taps nor a route for passt.
/// `command` is the one that can use the tap tap0 there, which `address` gives an address if it needs one.
pub(super) fn none_in_testbed(net: &Net, reason: &str, address: &str, command: &str) -> String {
    let backend = &net.backend;
    format!(
        "--net {backend}: the guest would run in the testbed ({reason}), which has no network: give \
         --testbed never on a host with hardware virtualization, or make a network in the testbed \
         and start the guest there: duplex testbed run -- sh -c 'ip tuntap add tap0 mode tap; {address}\
         ip link set tap0 up; {command} …'"
    )
}
