//! Virtio devices driven by a mock driver, in process: the real transport, queues, devices and
//! threads, without KVM.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod back_end;
mod balloon;
mod block_devices;
mod broken_files;
#[path = "../common/mod.rs"]
mod common;
mod console;
mod disk;
mod driver;
mod entropy;
mod fs;
#[path = "../../fuzz/virtio.rs"]
mod fuzz;
#[path = "../../fuzz/net.rs"]
mod fuzz_net;
#[path = "../../fuzz/mmio.rs"]
mod fuzz_registers;
#[path = "../../fuzz/vsock.rs"]
mod fuzz_sockets;
mod guest_sockets;
mod hostile_queues;
mod hostile_registers;
mod hostile_small;
mod hostile_sockets;
mod kept;
mod net;
mod nic;
mod queues;
mod requests;
mod resets;
mod sockets;
#[path = "../../fuzz/steps.rs"]
mod steps;
mod taps;
mod user_network;

use proptest::prelude::*;

proptest! {
    /// A short run of what `make fuzz` does for as long as it is told.
    #[test]
    fn a_hostile_driver_hurts_only_itself(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        fuzz::drive(&bytes);
    }

    #[test]
    fn a_hostile_driver_of_a_network_hurts_only_itself(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        fuzz_net::drive(&bytes);
    }

    /// The same for the registers alone.
    #[test]
    fn a_hostile_driver_gets_no_device_into_a_state_that_is_none(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzz_registers::drive(&bytes);
    }

    /// The same for sockets.
    #[test]
    fn a_hostile_guest_hurts_only_its_own_sockets(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        fuzz_sockets::drive(&bytes);
    }
}
