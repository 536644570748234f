//! Where a single step must be stopped by a breakpoint.
//!
//! KVM steps by the trap flag. It is lost where the flags are replaced: an exception or interrupt clears it on
//! the way into its handler, and `iret` and `sysret` load others on the way back; one instruction more would
//! be executed before the next stop. The places where those lead are known beforehand.

use kvm_bindings::{
    KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP, KVM_GUESTDBG_USE_HW_BP, kvm_guest_debug,
};

use super::happened::{handlers, read, width};
use super::steps::Registers;
use super::walk::walk;
use crate::vm::debug_registers::breakpoints;

/// What is at the instruction pointer, as far as it matters for stepping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// `hlt`.
    Halt,
    /// `iret`, with the address it returns to.
    Return(u64),
    /// `cpuid`.
    Cpuid,
    /// Any other instruction.
    Other,
}

/// Looks at the next instruction.
pub(super) fn next(memory: &[u8], registers: &Registers) -> Next {
    let (general, system) = (&registers.general, &registers.system);
    let at = system.cs.base.wrapping_add(general.rip);
    let byte = |offset: u64| {
        walk(memory, registers, at.wrapping_add(offset)).gpa.and_then(|gpa| read(memory, gpa, 1))
    };
    let size = width(registers);
    match [byte(0), byte(1), byte(2)] {
        [Some(0xF4), ..] => Next::Halt,
        [Some(0xCF), ..] | [Some(0x48 | 0x66), Some(0xCF), _] => {
            let wide = if byte(0) == Some(0x66) { 6 - size.min(4) } else { size };
            // In 64-bit code a plain `iret` takes 4 bytes a word.
            let wide = if size == 8 && byte(0) == Some(0xCF) { 4 } else { wide };
            let stack = walk(memory, registers, system.ss.base.wrapping_add(general.rsp)).gpa;
            let wide = u64::try_from(wide).unwrap_or(0);
            let word = |index| stack.and_then(|stack| read(memory, stack + index * wide, wide));
            let base = if system.cr0 & 1 == 0 { word(1).unwrap_or(0) << 4 } else { 0 };
            word(0).map_or(Next::Other, |target| Next::Return(base + target))
        }
        [Some(0x0F), Some(0xA2), _] => Next::Cpuid,
        // `sysret`, with or without the prefix for 64 bits.
        [Some(0x0F), Some(0x07), _] | [Some(0x48), Some(0x0F), Some(0x07)] => {
            Next::Return(general.rcx)
        }
        _ => Next::Other,
    }
}

/// How KVM is to step: by the trap flag and breakpoints, or by breakpoints alone for a processor that is
/// halted, whom only an interrupt takes further.
pub(super) fn debug(
    memory: &[u8],
    registers: &Registers,
    next: Next,
    wait: bool,
) -> kvm_guest_debug {
    let here = registers.system.cs.base.wrapping_add(registers.general.rip);
    let mut places: Vec<u64> = handlers(memory, registers).map(|(_, address)| address).collect();
    places.sort_unstable();
    places.dedup();
    if let Next::Return(target) = next {
        // There are only so many breakpoints: this one is needed next.
        places.insert(0, target);
    }
    places.retain(|place| *place != here);
    let arch = breakpoints(&places);
    let step = if wait { 0 } else { KVM_GUESTDBG_SINGLESTEP };
    let control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP | step;
    kvm_guest_debug { control, arch, ..Default::default() }
}
