//! Where the guest is to stop, and what it takes: code with a trap in its place, pages that cannot be
//! written, debug registers.

use std::collections::BTreeMap;

/// `out %al, $port`: the instruction that stands for a breakpoint. It leaves the guest in every mode and on
/// every KVM, as long as the guest is in its kernel.
pub(super) const TRAP: [u8; 2] = [0xE6, super::hooks::PORT];
/// How many debug registers there are.
pub(super) const REGISTERS: usize = 4;

/// A change of the guest's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patch {
    /// The guest-physical addresses of its two bytes: a page may end between them.
    pub(super) gpas: [u64; 2],
    /// What was there.
    pub(super) original: [u8; 2],
}

/// Memory whose stores are watched. It lies within a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Watched {
    /// The linear address that GDB knows it by.
    pub(super) address: u64,
    /// The guest-physical address.
    pub(super) gpa: u64,
    /// How many bytes it has.
    pub(super) size: u64,
}

impl Watched {
    /// Whether a store of `size` bytes at `gpa` touches it.
    pub(super) fn is_touched(&self, gpa: u64, size: u64) -> bool {
        gpa < self.gpa.saturating_add(self.size) && self.gpa < gpa.saturating_add(size)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Points {
    /// Changed code by its linear address.
    pub(super) patches: BTreeMap<u64, Patch>,
    /// Linear addresses in debug registers.
    pub(super) registers: Vec<u64>,
    /// Watched memory.
    pub(super) watched: Vec<Watched>,
}
