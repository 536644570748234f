//! Guests of a few instructions on `/dev/kvm` itself: every exit is checked. They run also where
//! KVM has no hardware virtualization and interprets the guest.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod harness;

use std::time::Duration;

use duplex::vm::boot::plan::Entry;
use duplex::vm::end::End;
use duplex::vm::layout::{GIB, MIB};
use harness::{Access, Guest, PROBE};

use Access::{Read, Write};

/// Defines a guest: a constant with its machine code. `.code16`, `.code32` or `.code64` come first.
macro_rules! guest_code {
    ($name:ident: $($line:literal),+ $(,)?) => {
        mod $name {
            std::arch::global_asm!(
                ".pushsection .rodata",
                concat!(".globl guest_", stringify!($name)),
                concat!("guest_", stringify!($name), ":"),
                $($line,)+
                concat!(".globl guest_", stringify!($name), "_end"),
                concat!("guest_", stringify!($name), "_end:"),
                ".code64",
                ".popsection",
                options(att_syntax),
            );
            unsafe extern "C" {
                #[link_name = concat!("guest_", stringify!($name))]
                static START: u8;
                #[link_name = concat!("guest_", stringify!($name), "_end")]
                static END: u8;
            }
            pub(super) fn code() -> &'static [u8] {
                let (start, end) = (&raw const START, &raw const END);
                // SAFETY: both are labels in the same read-only section, in this order.
                unsafe { std::slice::from_raw_parts(start, end.offset_from_unsigned(start)) }
            }
        }
    };
}

guest_code!(halt: ".code16", "cli", "hlt");

#[test]
fn a_halt_for_good_is_noticed_though_kvm_keeps_it_to_itself() {
    let Some(run) = Guest::new(halt::code(), Entry::Real(0x1000)).run() else { return };
    assert!(matches!(run.end, End::Halted), "{:?}", run.end);
    assert_eq!(run.exits.total(), run.exits.interrupted);
}

guest_code!(ports:
    ".code16",
    "mov $0x41, %al",
    "out %al, $0x10",
    "in $0x11, %al",
    "out %al, $0x12",
    "mov $0xBEEF, %ax",
    "out %ax, $0x10",
    "mov $0x20, %dx",
    "in %dx, %al",
    "out %al, $0x10",
    "cli",
    "hlt",
);

#[test]
fn real_mode_reaches_ports_by_size_and_order() {
    let Some(run) = Guest::new(ports::code(), Entry::Real(0x1000)).run() else { return };
    let expected = [
        Write(0, vec![0x41]),
        Read(1, 1),
        // The probe answers with the offset that is read.
        Write(2, vec![1]),
        Write(0, vec![0xEF, 0xBE]),
        // Nothing is at port 0x20 + the PIC's: KVM answers that itself, in the kernel.
        Write(0, vec![0]),
    ];
    assert_eq!(run.accesses, expected);
    assert_eq!((run.exits.port_out, run.exits.port_in), (4, 1));
}

guest_code!(string:
    ".code16",
    "xor %ax, %ax",
    "mov %ax, %ds",
    "mov $0x1000 + (1f - guest_string), %si",
    "mov $5, %cx",
    "mov $0x13, %dx",
    "cld",
    "rep outsb",
    "cli",
    "hlt",
    "1: .ascii \"hello\"",
);

#[test]
fn a_string_instruction_writes_byte_by_byte() {
    let Some(run) = Guest::new(string::code(), Entry::Real(0x1000)).run() else { return };
    let written: Vec<u8> = run
        .accesses
        .iter()
        .flat_map(|access| match access {
            Write(3, data) => data.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(written, b"hello");
    assert_eq!(run.accesses.len(), 5);
}

guest_code!(nobody:
    ".code32",
    "mov $0x5F0, %dx",
    "in %dx, %eax",
    "out %eax, $0x10",
    "mov 0xD0000000, %eax",
    "movl $1, 0xD0000004",
    "out %eax, $0x10",
    "mov $0x2000 | (5 << 10), %eax",
    "mov $0x604, %dx",
    "out %ax, %dx",
    "hlt",
);

#[test]
fn protected_mode_finds_all_ones_where_nothing_is_and_powers_off() {
    let Some(run) = Guest::new(nobody::code(), Entry::Pvh(0x10_0000)).run() else { return };
    let all_ones = Write(0, vec![0xFF; 4]);
    assert_eq!(run.accesses, [all_ones.clone(), all_ones]);
    assert!(matches!(run.end, End::PowerOff), "{:?}", run.end);
    assert_eq!((run.exits.mmio_read, run.exits.mmio_write), (1, 1));
    assert_eq!((run.exits.port_in, run.exits.port_out), (1, 3));
    assert_eq!(run.unclaimed, 3);
}

guest_code!(long:
    ".code64",
    // RSI is the zero page; 0x1FE in it is the boot flag.
    "movzwl 0x1FE(%rsi), %eax",
    "out %ax, $0x10",
    // A 64-bit register holds 64 bits only in 64-bit mode.
    "mov $0x1122334455667788, %rax",
    "shr $32, %rax",
    "out %eax, $0x10",
    "ud2",
);

#[test]
fn long_mode_finds_the_zero_page_and_a_triple_fault_is_reported() {
    let Some(run) = Guest::new(long::code(), Entry::Linux64(0x10_0000)).run() else { return };
    let expected =
        [Write(0, 0xAA55_u16.to_le_bytes().into()), Write(0, 0x1122_3344_u32.to_le_bytes().into())];
    assert_eq!(run.accesses, expected);
    let End::TripleFault(report) = run.end else { panic!("{:?}", run.end) };
    let report = report.to_string();
    assert!(report.contains("vCPU 0") && report.contains("triple fault"), "{report}");
    // AMD-V resets the processor at a shutdown; elsewhere the place is known.
    let place = report.contains("at: unknown (AMD-V resets")
        || report.contains("RIP 0x10") && report.contains("bytes there: 0f 0b");
    assert!(place && report.contains("try:"), "{report}");
}

guest_code!(reset_i8042: ".code16", "mov $0xFE, %al", "out %al, $0x64", "cli", "hlt");
guest_code!(reset_cf9: ".code16", "mov $0xCF9, %dx", "mov $6, %al", "out %al, %dx", "cli", "hlt");
guest_code!(reset_acpi: ".code16", "mov $0x608, %dx", "mov $1, %al", "out %al, %dx", "cli", "hlt");

#[test]
fn every_way_to_reset_is_a_reset() {
    for code in [reset_i8042::code(), reset_cf9::code(), reset_acpi::code()] {
        let Some(run) = Guest::new(code, Entry::Real(0x1000)).run() else { return };
        assert!(matches!(run.end, End::Reset), "{:?}", run.end);
        assert_eq!(run.exits.port_out, 1);
    }
}

guest_code!(panic: ".code16", "mov $0x505, %dx", "in %dx, %al", "out %al, %dx", "jmp .");

#[test]
fn a_reported_panic_ends_a_guest_that_goes_on() {
    let Some(run) = Guest::new(panic::code(), Entry::Real(0x1000)).run() else { return };
    assert!(matches!(run.end, End::GuestPanic), "{:?}", run.end);
}

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
        let during = paused.accesses().len();
        std::thread::yield_now();
        assert_eq!(paused.accesses().len(), during, "it ran while it was paused");
        paused.threads.resume();
    }
    let accesses = paused.stop();
    for (expected, access) in (1_u16..).zip(&accesses) {
        assert_eq!(*access, Write(0, expected.to_le_bytes().into()));
    }
    assert!(accesses.len() > 200, "{}", accesses.len());
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

#[test]
fn thirty_two_processors_start_and_stop() {
    let Some(run) = Guest::new(halt::code(), Entry::Real(0x1000)).cpus(32).run() else { return };
    assert!(matches!(run.end, End::Halted), "{:?}", run.end);
    assert_eq!(PROBE.start, 0x10);
}
