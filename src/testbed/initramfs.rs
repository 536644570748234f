//! The testbed's initramfs: this very program as /init, and the kernel modules it loads.

use super::error::Error;
use crate::guest_images::{DebianKernel, Initramfs, own_program};

/// What the testbed's kernel needs, each after what it depends on. What is built in has no file
/// and is left out.
const WANTED: [&str; 26] = [
    // The bus of all devices, then the devices: channels, disks, the host's file system.
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_console",
    "virtio_blk",
    "fuse",
    "virtiofs",
    // Writing to memory above a root that is read-only; disks of images for containers.
    "overlay",
    "loop",
    // What it is all about. kvm_amd fails on a CPU model without SVM, and nested paging is its
    // default.
    "irqbypass",
    "kvm",
    "kvm_amd",
    // Networks for guests and containers.
    "tun",
    "tap",
    "llc",
    "stp",
    "bridge",
    "veth",
    "vhost_iotlb",
    "vhost",
    "vhost_net",
    // A channel into guests.
    "vsock",
    "vmw_vsock_virtio_transport_common",
    "vhost_vsock",
];

/// Puts the archive together.
pub(super) fn build(kernel: &DebianKernel) -> Result<Vec<u8>, Error> {
    let mut archive = Initramfs::with_console()?;
    for directory in ["proc", "sys", "root"] {
        archive.directory(directory)?;
    }
    archive.file("init", 0o755, &own_program()?)?;
    archive.modules(kernel.module_files(&WANTED)?)?;
    Ok(archive.finish()?)
}
