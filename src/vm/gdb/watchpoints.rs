//! Watched memory: pages that the guest can read and execute, and whose stores leave it.

use kvm_bindings::{KVM_MEM_READONLY, kvm_userspace_memory_region};
use vm_memory::{Address, GuestMemoryBackend, GuestMemoryRegion};

use super::kvm::KvmInferior;
use super::points::Watched;
use crate::vm::layout::PAGE;

/// The first number of the memory slots that stand for a region with watched pages in it.
const SLOTS: u32 = 64;

impl KvmInferior<'_> {
    /// Watches stores to memory within a page; `false` where it is not there, or KVM refuses.
    pub(super) fn watch(&mut self, address: u64, size: u64) -> bool {
        let within = (1..=PAGE - address % PAGE).contains(&size);
        let Some(gpa) = self.find(address).filter(|_| within) else { return false };
        self.hooks().points().watched.push(Watched { address, gpa, size });
        if self.protect() {
            return true;
        }
        self.hooks().points().watched.pop();
        // As it was.
        self.protect();
        false
    }

    /// No longer; `false` where it was not watched.
    pub(super) fn unwatch(&mut self, address: u64, size: u64) -> bool {
        {
            let watched = &mut self.hooks().points().watched;
            let this = |it: &Watched| (it.address, it.size) == (address, size);
            let Some(at) = watched.iter().position(this) else { return false };
            watched.remove(at);
        }
        self.protect()
    }

    /// Shows KVM the memory anew: pages that are watched can be read and executed, and a store to them leaves
    /// the guest.
    pub(super) fn protect(&mut self) -> bool {
        let mut pages: Vec<u64> =
            self.hooks().points().watched.iter().map(|it| it.gpa / PAGE * PAGE).collect();
        pages.sort_unstable();
        pages.dedup();
        let mut good = true;
        for old in SLOTS..SLOTS + std::mem::take(&mut self.pieces) {
            let nothing = kvm_userspace_memory_region { slot: old, ..Default::default() };
            let _ = self.set(nothing);
        }
        let mut number = SLOTS;
        for (slot, region) in (0..).zip(self.debugger.memory.iter()) {
            let (start, size) = (region.start_addr().raw_value(), region.len());
            let host = region.as_ptr() as u64;
            let inside: Vec<u64> =
                pages.iter().copied().filter(|page| (start..start + size).contains(page)).collect();
            let piece = |slot, from: u64, to: u64, flags| kvm_userspace_memory_region {
                slot,
                guest_phys_addr: from,
                memory_size: to - from,
                userspace_addr: host + (from - start),
                flags,
            };
            // What was there goes first: slots must not overlap.
            let _ = self.set(piece(slot, start, start, 0));
            let mut from = start;
            let last = [start + size];
            for page in inside.iter().chain(&last) {
                if *page > from {
                    let whole = inside.is_empty();
                    good &= self.set(piece(if whole { slot } else { number }, from, *page, 0));
                    number += u32::from(!whole);
                }
                if *page < start + size {
                    good &= self.set(piece(number, *page, page + PAGE, KVM_MEM_READONLY));
                    number += 1;
                }
                from = page.saturating_add(PAGE);
            }
        }
        self.pieces = number - SLOTS;
        good
    }

    fn set(&self, region: kvm_userspace_memory_region) -> bool {
        // SAFETY: the host range lies within the region's mapping, which outlives the VM.
        unsafe { self.debugger.vm.set_user_memory_region(region) }.is_ok()
    }
}
