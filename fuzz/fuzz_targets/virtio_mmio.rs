//! Any bytes as what a hostile driver does to the registers of virtio-mmio.

#![no_main]

#[path = "../mmio.rs"]
mod mmio;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mmio::drive(bytes);
});
