//! What this machine's processors can do.

use std::arch::x86_64::__cpuid;

/// CPUID leaf 0x8000_0000: EAX is the highest extended leaf.
const EXTENDED_LEAVES: u32 = 0x8000_0000;
/// CPUID leaf 0x8000_0008: EAX bits 7:0 are the physical address width (Intel SDM vol. 2A, CPUID).
const ADDRESS_SIZES: u32 = 0x8000_0008;
/// What processors without that leaf have, if they have PAE (same source).
const WITHOUT_THE_LEAF: u32 = 36;

/// How wide physical addresses are, in bits: of this host, and so of any guest on it.
pub fn physical_address_bits() -> u32 {
    if eax_of(EXTENDED_LEAVES) < ADDRESS_SIZES {
        return WITHOUT_THE_LEAF;
    }
    eax_of(ADDRESS_SIZES) & 0xFF
}

// Newer compilers know that CPUID is safe.
#[allow(unused_unsafe)]
fn eax_of(leaf: u32) -> u32 {
    // SAFETY: every x86-64 processor has CPUID, which reads only.
    unsafe { __cpuid(leaf) }.eax
}
