//! Real, protected and long mode, and what each finds at ports and addresses.

use duplex::vm::boot::plan::Entry;
use duplex::vm::end::End;

use crate::guest_code::guest_code;
use crate::harness::Access::{Read, Write};
use crate::harness::Guest;

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
