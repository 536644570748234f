//! The virtio devices that a boot asks for, in the order of their slots: disks, networks, the rest.

use std::error::Error;
use std::sync::Arc;

use crate::vm::devices::virtio::VirtioDevice;
use crate::vm::devices::virtio::block::Block;
use crate::vm::devices::virtio::block::backing::{self, Backing};
use crate::vm::devices::virtio::event_thread::EventThread;
use crate::vm::devices::virtio::net::link::Link;
use crate::vm::devices::virtio::net::tap::Tap;
use crate::vm::devices::virtio::net::{self, Settings, passt};
use crate::vm::devices::virtio::rng::Rng;
use crate::workload::{Boot, MacAddress, Net, NetBackend};

/// How many there are.
pub(super) fn count(boot: &Boot) -> usize {
    boot.disks.len() + boot.nets.len() + usize::from(boot.rng)
}

/// Opens and locks the disks' files.
pub(super) fn open_disks(boot: &Boot) -> Result<Vec<Backing>, backing::Error> {
    boot.disks.iter().map(|disk| Backing::open(&disk.path, disk.read_only)).collect()
}

/// Builds them, disks on the files that were opened for them.
pub(super) fn build(
    boot: &Boot,
    backings: Vec<Backing>,
) -> Result<Vec<Box<dyn VirtioDevice>>, Box<dyn Error>> {
    let mut devices: Vec<Box<dyn VirtioDevice>> = Vec::new();
    for (number, (disk, backing)) in boot.disks.iter().zip(backings).enumerate() {
        devices.push(Box::new(Block::new(disk, number, backing)?));
    }
    for (number, net) in boot.nets.iter().enumerate() {
        devices.push(Box::new(interface(net, number)?));
    }
    if boot.rng {
        let thread = Arc::new(EventThread::start("devices")?);
        devices.push(Box::new(Rng::new(thread)));
    }
    Ok(devices)
}

/// Builds a network interface, its other end included.
fn interface(net: &Net, number: usize) -> Result<net::Net, Box<dyn Error>> {
    let (name, link, mtu): (String, Box<dyn Link>, u16) = match &net.backend {
        NetBackend::Tap(name) => {
            let tap = Tap::open(name, net.mtu)?;
            let mtu = tap.mtu();
            (format!("tap {name}"), Box::new(tap), mtu)
        }
        NetBackend::User => {
            let (stream, mtu) = passt::start(net.mtu)?;
            ("passt".into(), Box::new(stream), mtu)
        }
        NetBackend::None => return Err("--net none is no interface".into()),
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
