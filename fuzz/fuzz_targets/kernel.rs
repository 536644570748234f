//! Any bytes as a kernel, from recognising them to the guest's memory.

#![no_main]

#[path = "../loader.rs"]
mod loader;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    loader::load(bytes);
});
