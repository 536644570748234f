//! Breakpoints: a trap in the place of the guest's code.
//!
//! The trap has two bytes, so it may reach into the next instruction. That one is stepped over before the vCPU
//! goes on from there; only a jump to it from elsewhere meets half a trap.

use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::kvm::KvmInferior;
use super::points::{Patch, TRAP};

impl KvmInferior<'_> {
    /// Puts a trap at a linear address; `false` where there is no memory, or another trap would be in its way.
    pub(super) fn patch(&self, address: u64) -> bool {
        let memory = &self.debugger.memory;
        let second = address.checked_add(1).and_then(|second| self.find(second));
        let (Some(first), Some(second)) = (self.find(address), second) else { return false };
        let gpas = [first, second];
        let mut points = self.hooks().points();
        if points.patches.contains_key(&address) {
            return true;
        }
        if points.patches.values().any(|other| other.gpas.iter().any(|gpa| gpas.contains(gpa))) {
            return false;
        }
        let mut original = [0; 2];
        for (gpa, byte) in gpas.iter().zip(&mut original) {
            match memory.read_obj(GuestAddress(*gpa)) {
                Ok(read) => *byte = read,
                Err(_) => return false,
            }
        }
        points.patches.insert(address, Patch { gpas, original });
        write_all(memory, gpas, TRAP)
    }

    /// Puts back what was there; `false` where there was no trap.
    pub(super) fn unpatch(&self, address: u64) -> bool {
        let removed = self.hooks().points().patches.remove(&address);
        removed.is_some_and(|patch| write_all(&self.debugger.memory, patch.gpas, patch.original))
    }

    /// Takes a trap out of the way for a moment.
    pub(super) fn lift(&self, address: u64) {
        if let Some(patch) = self.hooks().points().patches.get(&address) {
            write_all(&self.debugger.memory, patch.gpas, patch.original);
        }
    }

    /// Puts it back where it was, unless it was removed meanwhile.
    pub(super) fn put_back(&self, address: u64) {
        if let Some(patch) = self.hooks().points().patches.get(&address) {
            write_all(&self.debugger.memory, patch.gpas, TRAP);
        }
    }
}

fn write_all(memory: &GuestMemoryMmap, gpas: [u64; 2], bytes: [u8; 2]) -> bool {
    gpas.iter().zip(bytes).all(|(gpa, byte)| memory.write_obj(byte, GuestAddress(*gpa)).is_ok())
}
