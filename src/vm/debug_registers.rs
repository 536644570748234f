//! Breakpoints of the processor itself: DR0 to DR3, and DR7 that enables them (Intel SDM vol. 3, "Debug Registers"; AMD
//! APM vol. 2, 13.1).

use kvm_bindings::kvm_guest_debug_arch;

/// How many there are.
pub const COUNT: usize = 4;

/// The register that enables the others: bit 10 is always one, bits 1, 3, 5 and 7 enable a breakpoint each, on
/// execution, in all tasks.
const DR7: usize = 7;
const DR7_ALWAYS: u64 = 1 << 10;

/// Registers with breakpoints at the first [`COUNT`] of these linear addresses.
pub fn breakpoints(places: &[u64]) -> kvm_guest_debug_arch {
    let mut arch = kvm_guest_debug_arch::default();
    let mut enabled = DR7_ALWAYS;
    for (number, place) in places.iter().take(COUNT).enumerate() {
        arch.debugreg[number] = *place;
        enabled |= 1 << (2 * number + 1);
    }
    arch.debugreg[DR7] = enabled;
    arch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_has_a_register_and_is_enabled() {
        assert_eq!(breakpoints(&[]).debugreg, [0, 0, 0, 0, 0, 0, 0, 0x400]);
        assert_eq!(breakpoints(&[7, 9]).debugreg, [7, 9, 0, 0, 0, 0, 0, 0x40A]);
        assert_eq!(breakpoints(&[1, 2, 3, 4, 5]).debugreg, [1, 2, 3, 4, 0, 0, 0, 0x4AA]);
    }
}
