//! The virtio devices that a boot asks for, in the order of their slots: disks, networks, the rest; and
//! what they need of the host, which is opened before any machine starts.

use std::error::Error;
use std::sync::Arc;

use crate::cli::interface;
use crate::vm::boot::plan::Plan;
use crate::vm::devices::virtio::VirtioDevice;
use crate::vm::devices::virtio::balloon::Balloon;
use crate::vm::devices::virtio::balloon::control::Control;
use crate::vm::devices::virtio::block::Block;
use crate::vm::devices::virtio::block::backing::{self, Backing};
use crate::vm::devices::virtio::console::Console;
use crate::vm::devices::virtio::console::port::Port;
use crate::vm::devices::virtio::event_thread::EventThread;
use crate::vm::devices::virtio::rng::Rng;
use crate::vm::devices::virtio::vsock::Vsock;
use crate::vm::devices::virtio::vsock::front::Front;
use crate::vm::devices::virtio::vsock::listener::Listener;
use crate::vm::reclaim::Reclaim;
use crate::workload::{Boot, Serial};

/// How many there are.
pub(super) fn count(boot: &Boot) -> usize {
    let others = [boot.rng, boot.vsock.is_some(), boot.hvc != Serial::Off, boot.balloon];
    boot.disks.len() + boot.nets.len() + others.into_iter().filter(|there| *there).count()
}

/// Opens and locks the disks' files.
pub(super) fn open_disks(boot: &Boot) -> Result<Vec<Backing>, backing::Error> {
    boot.disks.iter().map(|disk| Backing::open(&disk.path, disk.read_only)).collect()
}

/// Listens where programs on the host connect to the guest's.
pub(super) fn open_vsock(boot: &Boot) -> Result<Option<Arc<Front>>, Box<dyn Error>> {
    let Some(vsock) = &boot.vsock else { return Ok(None) };
    Ok(Some(Arc::new(Front::new(Some(Listener::bind(&vsock.path)?))?)))
}

/// Builds them, on what was opened for them.
pub(super) fn build(
    boot: &Boot,
    plan: &Plan,
    backings: Vec<Backing>,
    vsock: Option<&Arc<Front>>,
    hvc: Option<&Arc<Port>>,
) -> Result<Vec<Box<dyn VirtioDevice>>, Box<dyn Error>> {
    let mut devices: Vec<Box<dyn VirtioDevice>> = Vec::new();
    for (number, (disk, backing)) in boot.disks.iter().zip(backings).enumerate() {
        devices.push(Box::new(Block::new(disk, number, backing)?));
    }
    for (number, net) in boot.nets.iter().enumerate() {
        devices.push(Box::new(interface::build(net, number, None, &[])?));
    }
    if boot.rng || vsock.is_some() || hvc.is_some() {
        // Whose work takes no time shares a thread.
        let thread = Arc::new(EventThread::start("devices")?);
        if boot.rng {
            devices.push(Box::new(Rng::new(thread.clone())));
        }
        if let (Some(vsock), Some(front)) = (&boot.vsock, vsock) {
            devices.push(Box::new(Vsock::new(vsock.cid, front.clone(), thread.clone())));
        }
        if let Some(port) = hvc {
            devices.push(Box::new(Console::new(port.clone(), thread)));
        }
    }
    if boot.balloon {
        // The guest decides how much it needs: nothing is asked for.
        let control = Arc::new(Control::new(0)?);
        let thread = Arc::new(EventThread::start("balloon")?);
        devices.push(Box::new(Balloon::new(control, Reclaim::new(plan.mapped()), thread)));
    }
    Ok(devices)
}
