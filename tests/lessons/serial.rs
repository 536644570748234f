//! The serial port, with and without a reader.

use std::time::Duration;

use duplex::vm::boot::plan::Entry;
use duplex::vm::end::End;

use crate::guest_code::guest_code;
use crate::harness::Guest;

guest_code!(hello:
    ".code16",
    "mov $0x3F8, %dx",
    "mov $0x1000 + (1f - guest_hello), %si",
    "xor %ax, %ax",
    "mov %ax, %ds",
    "mov $12, %cx",
    "cld",
    "rep outsb",
    "cli",
    "hlt",
    "1: .ascii \"hello, world\"",
);

#[test]
fn serial_output_arrives_whole() {
    let Some(run) = Guest::new(hello::code(), Entry::Real(0x1000)).serial().run() else { return };
    assert_eq!(run.output, b"hello, world");
}

guest_code!(chatter:
    ".code16",
    "xor %ax, %ax",
    "mov %ax, %ds",
    "mov $0x3F8, %dx",
    "cld",
    "1: xor %si, %si",
    "mov $1024, %cx",
    "rep outsb",
    "jmp 1b",
);

#[test]
fn a_guest_whose_output_nobody_takes_is_throttled_and_can_be_stopped() {
    let guest = Guest::new(chatter::code(), Entry::Real(0x1000)).serial_nobody_reads();
    let Some(run) = guest.stop_after(Duration::from_secs(4)).run() else { return };
    assert!(matches!(run.end, End::Quit), "{:?}", run.end);
    // A byte an exit: the queue's 64 KiB, the pipe's 4 KiB, and what was on the way between them.
    // Unthrottled it would be hundreds of thousands.
    assert!((1 << 16..80_000).contains(&run.exits.port_out), "{:?}", run.exits);
}
