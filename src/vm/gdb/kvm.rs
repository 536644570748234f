//! A guest on KVM under a debugger.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd};
use std::path::Path;
use std::sync::Arc;

use kvm_bindings::{
    KVM_GUESTDBG_BLOCKIRQ, KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP, KVM_GUESTDBG_USE_HW_BP,
    kvm_guest_debug,
};
use kvm_ioctls::{VcpuFd, VmFd};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

use super::hooks::Hooks;
use super::inferior::{Inferior, Point, Resume, Stop};
use super::points::REGISTERS;
use super::registers::Registers;
use super::symbols::Segment;
use super::xml::View;
use crate::vm::control::Threads;
use crate::vm::debug_registers::breakpoints;
use crate::vm::kvm;
use crate::vm::layout::PAGE;

/// CPUID's leaf with the hypervisor's name.
const LEAF_HYPERVISOR: u32 = 0x4000_0000;

/// What a debugger needs of a machine, before its vCPUs have threads.
pub(in crate::vm) struct Debugger {
    hooks: Arc<Hooks>,
    // Dropped in this order: vCPUs before the VM, the VM before its memory.
    cpus: Vec<VcpuFd>,
    pub(super) vm: VmFd,
    pub(super) memory: GuestMemoryMmap,
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
            lifted: None,
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
    pub(super) debugger: Debugger,
    threads: &'a Threads,
    segments: &'a [Segment],
    debug_registers: bool,
    /// How many further memory slots are in use.
    pub(super) pieces: u32,
    /// A trap that is out of the way while a vCPU takes a step, and what is to be done then.
    lifted: Option<(u64, Resume)>,
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
    pub(super) fn find(&self, address: u64) -> Option<u64> {
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

    /// The trap whose second byte a vCPU would execute next: the instruction in its place had but one byte, and
    /// the next one begins there.
    fn trap_before(&self, cpu: usize) -> Option<u64> {
        let fd = self.debugger.cpus.get(cpu)?;
        let next = fd.get_sregs().ok()?.cs.base.wrapping_add(fd.get_regs().ok()?.rip);
        let trap = next.checked_sub(1)?;
        self.hooks().points().patches.contains_key(&trap).then_some(trap)
    }

    fn run(&self, resume: Resume) {
        let mut held = 0;
        for cpu in 0..self.debugger.cpus.len() {
            self.arm(cpu, resume == Resume::Step(cpu));
            held |= u32::from(is_held(resume, cpu)) << cpu;
        }
        self.threads.thaw(held);
    }

    /// Tells KVM how a vCPU is to run.
    fn arm(&self, cpu: usize, step: bool) {
        let Some(fd) = self.debugger.cpus.get(cpu) else { return };
        let places = self.hooks().points().registers.clone();
        let mut debug = kvm_guest_debug { arch: breakpoints(&places), ..Default::default() };
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

/// Whether a vCPU stands still while others run.
fn is_held(resume: Resume, cpu: usize) -> bool {
    matches!(resume, Resume::Step(only) | Resume::Only(only) if only != cpu)
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
        let within = (0..self.count())
            .filter(|cpu| !is_held(resume, *cpu))
            .find_map(|cpu| Some((cpu, self.trap_before(cpu)?)));
        match within {
            Some((cpu, trap)) => {
                self.lift(trap);
                self.lifted = Some((trap, resume));
                self.run(Resume::Step(cpu));
            }
            None => self.run(resume),
        }
    }

    fn pause(&mut self) {
        self.threads.freeze();
        if let Some((trap, _)) = self.lifted.take() {
            self.put_back(trap);
        }
    }

    fn stopped(&mut self) -> Option<(usize, Stop)> {
        let (cpu, stop) = self.hooks().next()?;
        self.threads.freeze();
        if let Some((trap, resume)) = self.lifted.take() {
            self.put_back(trap);
            if stop == Stop::Step && !matches!(resume, Resume::Step(_)) {
                self.resume(resume);
                return None;
            }
        }
        Some((cpu.into(), stop))
    }

    fn release(&mut self) {
        // GDB may have gone while the guest ran: a vCPU must not meet points that are half gone.
        self.pause();
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
