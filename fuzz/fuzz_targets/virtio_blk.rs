//! Any bytes as what a hostile driver does to a disk.

#![no_main]

#[path = "../../tests/virtio/disk.rs"]
mod disk;
#[path = "../../tests/virtio/driver.rs"]
mod driver;
#[path = "../steps.rs"]
mod steps;
#[path = "../virtio.rs"]
mod virtio;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    virtio::drive(bytes);
});
