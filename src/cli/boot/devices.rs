//! The virtio devices that a boot asks for, in the order of their slots: disks, then the rest; and what
//! they need of the host, which is opened before any machine starts.

use std::error::Error;
use std::sync::Arc;

use crate::vm::devices::virtio::VirtioDevice;
use crate::vm::devices::virtio::block::Block;
use crate::vm::devices::virtio::block::backing::{self, Backing};
use crate::vm::devices::virtio::event_thread::EventThread;
use crate::vm::devices::virtio::rng::Rng;
use crate::vm::devices::virtio::vsock::Vsock;
use crate::vm::devices::virtio::vsock::front::Front;
use crate::vm::devices::virtio::vsock::listener::Listener;
use crate::workload::Boot;

/// How many there are.
pub(super) fn count(boot: &Boot) -> usize {
    boot.disks.len() + usize::from(boot.rng) + usize::from(boot.vsock.is_some())
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
    backings: Vec<Backing>,
    vsock: Option<&Arc<Front>>,
) -> Result<Vec<Box<dyn VirtioDevice>>, Box<dyn Error>> {
    let mut devices: Vec<Box<dyn VirtioDevice>> = Vec::new();
    for (number, (disk, backing)) in boot.disks.iter().zip(backings).enumerate() {
        devices.push(Box::new(Block::new(disk, number, backing)?));
    }
    if !boot.rng && vsock.is_none() {
        return Ok(devices);
    }
    // Whose work takes no time shares a thread.
    let thread = Arc::new(EventThread::start("devices")?);
    if boot.rng {
        devices.push(Box::new(Rng::new(thread.clone())));
    }
    if let (Some(vsock), Some(front)) = (&boot.vsock, vsock) {
        devices.push(Box::new(Vsock::new(vsock.cid, front.clone(), thread)));
    }
    Ok(devices)
}
