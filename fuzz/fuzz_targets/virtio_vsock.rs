//! Any bytes as what a hostile guest does to the socket device.

#![no_main]

#[path = "../../tests/virtio/driver.rs"]
mod driver;
#[path = "../../tests/virtio/guest_sockets.rs"]
mod guest_sockets;
#[path = "../vsock.rs"]
mod vsock;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    vsock::drive(bytes);
});
