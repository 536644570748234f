//! The virtio devices that a boot asks for, in the order of their slots: disks, then the rest.

use std::error::Error;
use std::sync::Arc;

use crate::vm::devices::virtio::VirtioDevice;
use crate::vm::devices::virtio::block::Block;
use crate::vm::devices::virtio::block::backing::{self, Backing};
use crate::vm::devices::virtio::event_thread::EventThread;
use crate::vm::devices::virtio::rng::Rng;
use crate::workload::Boot;

/// How many there are.
pub(super) fn count(boot: &Boot) -> usize {
    boot.disks.len() + usize::from(boot.rng)
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
    if boot.rng {
        let thread = Arc::new(EventThread::start("devices")?);
        devices.push(Box::new(Rng::new(thread)));
    }
    Ok(devices)
}
