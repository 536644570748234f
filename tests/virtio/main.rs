//! Virtio devices driven by a mock driver, in process: the real transport, queues, devices and
//! threads, without KVM.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod block_devices;
mod broken_files;
mod disk;
mod driver;
mod entropy;
#[path = "../../fuzz/virtio.rs"]
mod fuzz;
mod hostile_queues;
mod hostile_registers;
mod net;
mod nic;
mod queues;
mod requests;
mod resets;
mod taps;
mod user_network;

use proptest::prelude::*;

proptest! {
    /// A short run of what `make fuzz` does for as long as it is told.
    #[test]
    fn a_hostile_driver_hurts_only_itself(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        fuzz::drive(&bytes);
    }
}
