//! How a guest can end.

use duplex::vm::boot::plan::Entry;
use duplex::vm::end::End;

use crate::guest_code::guest_code;
use crate::harness::Guest;

guest_code!(halt: ".code16", "cli", "hlt");

#[test]
fn a_halt_for_good_is_noticed_though_kvm_keeps_it_to_itself() {
    let Some(run) = Guest::new(halt::code(), Entry::Real(0x1000)).run() else { return };
    assert!(matches!(run.end, End::Halted), "{:?}", run.end);
    assert_eq!(run.exits.total(), run.exits.interrupted);
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
