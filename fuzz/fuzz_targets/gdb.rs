//! Any bytes as what a client says to the GDB stub.

#![no_main]

#[path = "../gdb.rs"]
mod gdb;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    gdb::feed(bytes);
});
