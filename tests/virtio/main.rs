//! Virtio devices driven by a mock driver, in process: the real transport, queues, devices and
//! threads, without KVM.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod block_devices;
mod broken_files;
#[path = "../common/mod.rs"]
mod common;
mod disk;
mod driver;
mod entropy;
#[path = "../../fuzz/virtio.rs"]
mod fuzz;
#[path = "../../fuzz/net.rs"]
mod fuzz_net;
mod hostile_queues;
mod hostile_registers;
mod net;
mod nic;
mod queues;
mod requests;
mod resets;
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
}
