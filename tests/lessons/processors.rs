//! Processors: started, paused, many; and memory that none of them touches.

use duplex::vm::boot::plan::Entry;
use duplex::vm::end::End;
use duplex::vm::layout::{GIB, MIB};

use crate::guest_code::guest_code;
use crate::harness;
use crate::harness::Access::Write;
use crate::harness::Guest;

guest_code!(two_processors:
    ".code16",
    "xor %ax, %ax",
    "mov %ax, %ds",
    // To protected mode with the GDT that the boot data left at 0x500.
    "cli",
    "lgdtl 0x1000 + (gdtr - guest_two_processors)",
    "mov %cr0, %eax",
    "or $1, %eax",
    "mov %eax, %cr0",
    "ljmpl $0x10, $0x1000 + (1f - guest_two_processors)",
    ".code32",
    "1: mov $0x18, %ax",
    "mov %ax, %ds",
    // INIT and SIPI to all but self: the other starts at page 2, 0x2000.
    "mov $0xFEE00300, %ebx",
    "movl $0xC4500, (%ebx)",
    "movl $0xC4602, (%ebx)",
    "2: cmpl $0x600D, 0x3000",
    "jne 2b",
    "mov 0x3000, %eax",
    "out %ax, $0x10",
    "hlt",
    ".balign 4",
    "gdtr: .word 0x3F",
    ".long 0x500",
    // The second processor, at 0x2000.
    ".org guest_two_processors + 0x1000",
    ".code16",
    "cli",
    "xor %ax, %ax",
    "mov %ax, %ds",
    "mov $0x42, %al",
    "out %al, $0x11",
    "movw $0x600D, 0x3000",
    "hlt",
);

#[test]
fn a_processor_starts_another_and_both_halt() {
    let guest = Guest::new(two_processors::code(), Entry::Real(0x1000)).cpus(2);
    let Some(run) = guest.run() else { return };
    assert_eq!(run.accesses, [Write(1, vec![0x42]), Write(0, vec![0x0D, 0x60])]);
    assert!(matches!(run.end, End::Halted), "{:?}", run.end);
}

guest_code!(counting:
    ".code16",
    "xor %bx, %bx",
    "1: inc %bx",
    "mov %bx, %ax",
    "out %ax, $0x10",
    "jmp 1b",
);

#[test]
fn a_pause_stops_the_guest_between_two_instructions_and_nothing_is_lost() {
    let Some(paused) = Guest::new(counting::code(), Entry::Real(0x1000)).start() else {
        return;
    };
    for _ in 0..200 {
        assert_eq!(paused.threads.pause().len(), 1);
        let during = paused.count();
        std::thread::yield_now();
        assert_eq!(paused.count(), during, "it ran while it was paused");
        paused.threads.resume();
        paused.wait_beyond(during);
    }
    let accesses = paused.stop();
    assert!(accesses.len() > 200, "{}", accesses.len());
    for (expected, access) in (1_u16..).zip(&accesses) {
        assert_eq!(*access, Write(0, expected.to_le_bytes().into()));
    }
}

#[test]
fn memory_that_the_guest_has_not_touched_costs_nothing() {
    let Some(started) = Guest::new(counting::code(), Entry::Real(0x1000)).memory(16 * GIB).start()
    else {
        return;
    };
    let resident = harness::resident_set();
    started.stop();
    assert!(resident < 256 * MIB, "{resident} bytes");
}

guest_code!(stop: ".code16", "cli", "hlt");

#[test]
fn thirty_two_processors_start_and_stop() {
    let Some(run) = Guest::new(stop::code(), Entry::Real(0x1000)).cpus(32).run() else { return };
    assert!(matches!(run.end, End::Halted), "{:?}", run.end);
}
