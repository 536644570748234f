//! What fuzzing has found to reach something new in devices, once more.

use crate::common::kept::replay;
use crate::{fuzz, fuzz_net, fuzz_registers, fuzz_sockets};

#[test]
fn kept_disk_requests_hurt_nobody() {
    replay("virtio_blk", fuzz::drive);
}

#[test]
fn kept_packets_hurt_nobody() {
    replay("virtio_net", fuzz_net::drive);
}

#[test]
fn kept_register_accesses_hurt_nobody() {
    replay("virtio_mmio", fuzz_registers::drive);
}

#[test]
fn kept_sockets_hurt_nobody() {
    replay("virtio_vsock", fuzz_sockets::drive);
}
