//! Any bytes as a trace.

#![no_main]

#[path = "../trace.rs"]
mod trace;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    trace::read(bytes);
});
