//! A guest on KVM under a debugger.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd};
use std::path::Path;
use std::sync::Arc;

use kvm_bindings::{
    KVM_GUESTDBG_BLOCKIRQ, KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP, KVM_GUESTDBG_USE_HW_BP,
    KVM_MEM_READONLY, kvm_guest_debug, kvm_userspace_memory_region,
};
use kvm_ioctls::{VcpuFd, VmFd};
use vm_memory::{
    Address, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion,
};

use super::hooks::Hooks;
use super::inferior::{Inferior, Point, Resume, Stop};
use super::points::{Patch, REGISTERS, TRAP, Watched};
use super::registers::Registers;
use super::symbols::Segment;
use super::xml::View;
use crate::vm::control::Threads;
use crate::vm::kvm;
use crate::vm::layout::PAGE;

/// The first number of the memory slots that stand for a region with watched pages in it.
const SLOTS: u32 = 64;
/// Debug register 7: bit 10 is always one, bits 1, 3, 5 and 7 enable the breakpoints.
const DR7_ALWAYS: u64 = 1 << 10;
/// CPUID's leaf with the hypervisor's name.
const LEAF_HYPERVISOR: u32 = 0x4000_0000;

/// What a debugger needs of a machine, before its vCPUs have threads.
pub(in crate::vm) struct Debugger {
    hooks: Arc<Hooks>,
    // Dropped in this order: vCPUs before the VM, the VM before its memory.
    cpus: Vec<VcpuFd>,
    vm: VmFd,
    memory: GuestMemoryMmap,
    view: View,
}

impl Debugger {
    /// Takes further file descriptors of the VM and its vCPUs; which are shown so.
    pub(in crate::vm) fn new(
        vm: &VmFd,
        cpus: &mut [crate::vm::vcpu::Vcpu],
        memory: &GuestMemoryMmap,
        view: View,
    ) -> io::Result<Debugger> {
        let kvm = kvm::open(Path::new(kvm::DEVICE)).map_err(io::Error::other)?;
        let duplicate = |fd: &dyn AsRawFd| {
            // SAFETY: it stays open while it is duplicated.
            let fd = unsafe { BorrowedFd::borrow_raw(fd.as_raw_fd()) };
            fd.try_clone_to_owned().map(IntoRawFd::into_raw_fd)
        };
        // SAFETY: a descriptor of a VM, which nobody else owns.
        let vm = unsafe { kvm.create_vmfd_from_rawfd(duplicate(vm)?) }?;
        let mut fds = Vec::new();
        for cpu in cpus {
            // SAFETY: a descriptor of a vCPU of this VM, which nobody else owns.
            fds.push(unsafe { vm.create_vcpu_from_rawfd(duplicate(cpu.fd())?) }?);
        }
        let hooks = Arc::new(Hooks::new()?);
        Ok(Debugger { hooks, cpus: fds, vm, memory: memory.clone(), view })
    }

    /// What the vCPU threads call.
    pub(in crate::vm) fn hooks(&self) -> Arc<Hooks> {
        self.hooks.clone()
    }

    /// The guest, for as long as its threads run.
    pub(in crate::vm) fn attach<'a>(
        self,
        threads: &'a Threads,
        segments: &'a [Segment],
    ) -> KvmInferior<'a> {
        KvmInferior {
            debugger: self,
            threads,
            segments,
            debug_registers: have_debug_registers(),
            pieces: 0,
        }
    }
}

/// QEMU's emulation of AMD-V does not load the debug registers of a guest.
fn have_debug_registers() -> bool {
    let leaf = std::arch::x86_64::__cpuid(LEAF_HYPERVISOR);
    [leaf.ebx, leaf.ecx, leaf.edx].map(u32::to_le_bytes).concat() != b"TCGTCGTCGTCG"
}

/// A guest on KVM, with its threads.
pub(in crate::vm) struct KvmInferior<'a> {
    debugger: Debugger,
    threads: &'a Threads,
    segments: &'a [Segment],
    debug_registers: bool,
    /// How many slots from [`SLOTS`] on are in use.
    pieces: u32,
}

impl KvmInferior<'_> {
    pub(super) fn hooks(&self) -> &Hooks {
        &self.debugger.hooks
    }

    /// Where a linear address is, as this vCPU sees it; or, where nothing is mapped, where the kernel will map
    /// it: breakpoints can be set before it has page tables of its own.
    fn translate(&self, cpu: usize, address: u64) -> Option<u64> {
        let fd = self.debugger.cpus.get(cpu)?;
        let is_there = |gpa: &u64| self.debugger.memory.address_in_range(GuestAddress(*gpa));
        let mapped = fd.translate_gva(address).ok().filter(|found| found.valid != 0);
        // Without paging KVM takes each address for its own translation.
        let mapped = mapped.map(|found| found.physical_address).filter(is_there);
        let to_be = || {
            let inside = |segment: &&Segment| {
                address.checked_sub(segment.address).is_some_and(|offset| offset < segment.size)
            };
            let segment = self.segments.iter().find(inside)?;
            segment.gpa.checked_add(address - segment.address).filter(is_there)
        };
        mapped.or_else(to_be)
    }

    /// Where a linear address is, as any vCPU sees it: the others may not have their page tables yet.
    fn find(&self, address: u64) -> Option<u64> {
        (0..self.debugger.cpus.len()).find_map(|cpu| self.translate(cpu, address))
    }

    /// Does something to each page's part of a range of linear addresses; returns how many bytes that were.
    fn pages(
        &self,
        cpu: usize,
        address: u64,
        size: usize,
        mut part: impl FnMut(u64, std::ops::Range<usize>) -> bool,
    ) -> usize {
        let mut done = 0;
        while done < size {
            let Some(at) = address.checked_add(u64::try_from(done).unwrap_or(u64::MAX)) else {
                break;
            };
            let room = usize::try_from(PAGE - at % PAGE).unwrap_or(1);
            let end = size.min(done + room);
            match self.translate(cpu, at) {
                Some(gpa) if part(gpa, done..end) => done = end,
                _ => break,
            }
        }
        done
    }

    fn patch(&self, address: u64) -> bool {
        let memory = &self.debugger.memory;
        let second = address.checked_add(1).and_then(|second| self.find(second));
        let (Some(first), Some(second)) = (self.find(address), second) else { return false };
        let gpas = [first, second];
        let mut original = [0; 2];
        let mut points = self.hooks().points();
        if points.patches.contains_key(&address) {
            return true;
        }
        for (gpa, byte) in gpas.iter().zip(&mut original) {
            match memory.read_obj(GuestAddress(*gpa)) {
                Ok(read) => *byte = read,
                Err(_) => return false,
            }
        }
        points.patches.insert(address, Patch { gpas, original });
        write_all(memory, gpas, TRAP)
    }

    fn unpatch(&self, address: u64) -> bool {
        let removed = self.hooks().points().patches.remove(&address);
        removed.is_some_and(|patch| write_all(&self.debugger.memory, patch.gpas, patch.original))
    }

    fn watch(&mut self, address: u64, size: u64) -> bool {
        let within = address % PAGE + size <= PAGE;
        let Some(gpa) = self.find(address).filter(|_| within && size > 0) else { return false };
        self.hooks().points().watched.push(Watched { address, gpa, size });
        self.protect()
    }

    fn unwatch(&mut self, address: u64, size: u64) -> bool {
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
    fn protect(&mut self) -> bool {
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

    /// Tells KVM how a vCPU is to run.
    fn arm(&self, cpu: usize, step: bool) {
        let Some(fd) = self.debugger.cpus.get(cpu) else { return };
        let places = self.hooks().points().registers.clone();
        let mut debug = kvm_guest_debug::default();
        let mut enabled = DR7_ALWAYS;
        for (number, place) in places.iter().enumerate() {
            if let Some(register) = debug.arch.debugreg.get_mut(number) {
                *register = *place;
            }
            enabled |= 1 << (2 * number + 1);
        }
        debug.arch.debugreg[7] = enabled;
        if !places.is_empty() {
            debug.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
        }
        if step {
            debug.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_BLOCKIRQ;
        }
        // Before Linux 5.16 a step may end in an interrupt's handler.
        if fd.set_guest_debug(&debug).is_err() {
            debug.control &= !KVM_GUESTDBG_BLOCKIRQ;
            if let Err(error) = fd.set_guest_debug(&debug) {
                log::warn!("gdb: vCPU {cpu} cannot be debugged: {error}");
            }
        }
    }
}

fn write_all(memory: &GuestMemoryMmap, gpas: [u64; 2], bytes: [u8; 2]) -> bool {
    gpas.iter().zip(bytes).all(|(gpa, byte)| memory.write_obj(byte, GuestAddress(*gpa)).is_ok())
}

impl Inferior for KvmInferior<'_> {
    fn count(&self) -> usize {
        self.debugger.cpus.len()
    }

    fn registers(&mut self, cpu: usize) -> io::Result<Registers> {
        let fd = self.debugger.cpus.get(cpu).ok_or(io::ErrorKind::NotFound)?;
        let (general, system, fpu) = (fd.get_regs()?, fd.get_sregs()?, fd.get_fpu()?);
        let narrow = self.debugger.view != View::Long;
        Ok(Registers { narrow, general, system, fpu })
    }

    fn set_registers(&mut self, cpu: usize, registers: &Registers) -> io::Result<()> {
        let fd = self.debugger.cpus.get(cpu).ok_or(io::ErrorKind::NotFound)?;
        Ok(fd.set_regs(&registers.general)?)
    }

    fn read(&mut self, cpu: usize, address: u64, data: &mut [u8]) -> usize {
        let memory = &self.debugger.memory;
        self.pages(cpu, address, data.len(), |gpa, part| {
            let part = data.get_mut(part).unwrap_or_default();
            memory.read_slice(part, GuestAddress(gpa)).is_ok()
        })
    }

    fn write(&mut self, cpu: usize, address: u64, data: &[u8]) -> bool {
        let memory = &self.debugger.memory;
        let written = self.pages(cpu, address, data.len(), |gpa, part| {
            let part = data.get(part).unwrap_or_default();
            memory.write_slice(part, GuestAddress(gpa)).is_ok()
        });
        written == data.len()
    }

    fn insert(&mut self, point: Point) -> bool {
        match point {
            Point::Register(address) if self.debug_registers => {
                let registers = &mut self.hooks().points().registers;
                let room = registers.len() < REGISTERS;
                if room {
                    registers.push(address);
                }
                room
            }
            Point::Code(address) | Point::Register(address) => self.patch(address),
            Point::Store(address, size) => self.watch(address, size),
        }
    }

    fn remove(&mut self, point: Point) -> bool {
        match point {
            Point::Register(address) if self.debug_registers => {
                let registers = &mut self.hooks().points().registers;
                let before = registers.len();
                registers.retain(|other| *other != address);
                registers.len() < before
            }
            Point::Code(address) | Point::Register(address) => self.unpatch(address),
            Point::Store(address, size) => self.unwatch(address, size),
        }
    }

    fn resume(&mut self, resume: Resume) {
        self.hooks().forget();
        let mut held = 0;
        for cpu in 0..self.count() {
            self.arm(cpu, resume == Resume::Step(cpu));
            if matches!(resume, Resume::Step(only) | Resume::Only(only) if only != cpu) {
                held |= 1 << cpu;
            }
        }
        self.threads.thaw(held);
    }

    fn pause(&mut self) {
        self.threads.freeze();
    }

    fn stopped(&mut self) -> Option<(usize, Stop)> {
        let (cpu, stop) = self.hooks().next()?;
        self.threads.freeze();
        Some((cpu.into(), stop))
    }

    fn release(&mut self) {
        let patched: Vec<u64> = self.hooks().points().patches.keys().copied().collect();
        for address in patched {
            self.unpatch(address);
        }
        self.hooks().points().registers.clear();
        let watched = std::mem::take(&mut self.hooks().points().watched);
        if !watched.is_empty() {
            self.protect();
        }
        self.resume(Resume::All);
    }
}
