//! Any bytes as what a hostile driver does to a network interface while packets come.

#![no_main]

#[path = "../../tests/virtio/driver.rs"]
mod driver;
#[path = "../net.rs"]
mod net;
#[path = "../../tests/virtio/nic.rs"]
mod nic;
#[path = "../steps.rs"]
mod steps;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    net::drive(bytes);
});
