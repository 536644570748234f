//! What a vCPU's thread does for a debugger: it finds out that the guest has come to a point, brings the
//! instruction to its end, says so, and stands still.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kvm_bindings::kvm_debug_exit_arch;
use kvm_ioctls::VcpuFd;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::inferior::Stop;
use super::points::{Points, TRAP};
use crate::vm::control::Control;
use crate::vm::exit::{self, Exit};
use crate::vm::layout::{self, PAGE};

/// The port that stands for a breakpoint. Nothing on a PC is there.
pub(super) const PORT: u8 = layout::BREAKPOINT.start.to_le_bytes()[0];
/// Debug register 6: which of the four breakpoints.
const DR6_BREAKPOINTS: u64 = 0xF;

/// What a vCPU has come upon.
#[derive(Clone, Copy, Debug)]
enum Found {
    /// An access to the port that stands for a breakpoint.
    Trap,
    /// Anything else.
    Stop(Stop),
}

/// Shared by the vCPU threads and the debugger's.
#[derive(Debug)]
pub(in crate::vm) struct Hooks {
    points: Mutex<Points>,
    found: Mutex<Vec<(u8, Found)>>,
    stops: Mutex<VecDeque<(u8, Stop)>>,
    event: EventFd,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hooks {
    pub(in crate::vm) fn new() -> io::Result<Hooks> {
        Ok(Hooks {
            points: Mutex::default(),
            found: Mutex::default(),
            stops: Mutex::default(),
            event: EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?,
        })
    }

    pub(super) fn points(&self) -> MutexGuard<'_, Points> {
        lock(&self.points)
    }

    /// Readable when a vCPU has stopped.
    pub(super) fn event(&self) -> &EventFd {
        &self.event
    }

    /// The stop that came first of those that were not taken yet.
    pub(super) fn next(&self) -> Option<(u8, Stop)> {
        // Only a wake-up: the queue says how many there are.
        let _ = self.event.read();
        lock(&self.stops).pop_front()
    }

    /// Forgets stops that nobody is to hear of any more.
    pub(super) fn forget(&self) {
        lock(&self.stops).clear();
    }

    fn find(&self, cpu: u8, found: Found) {
        lock(&self.found).push((cpu, found));
    }

    /// A port access; whether it is the one that stands for a breakpoint.
    pub(in crate::vm) fn port_out(&self, cpu: u8, port: u16) -> bool {
        let is_trap = port == u16::from(PORT) && !self.points().patches.is_empty();
        if is_trap {
            self.find(cpu, Found::Trap);
        }
        is_trap
    }

    /// A store that found no memory it could write; whether it is to a page that is watched. It is done here.
    pub(in crate::vm) fn store(
        &self,
        memory: &GuestMemoryMmap,
        cpu: u8,
        gpa: u64,
        data: &[u8],
    ) -> bool {
        let size = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let points = self.points();
        if !points.watched.iter().any(|watched| watched.gpa / PAGE == gpa / PAGE) {
            return false;
        }
        if memory.write_slice(data, GuestAddress(gpa)).is_err() {
            return false;
        }
        let touched = points.watched.iter().find(|watched| watched.is_touched(gpa, size));
        if let Some(watched) = touched {
            self.find(cpu, Found::Stop(Stop::Store(watched.address)));
        }
        true
    }

    /// KVM_EXIT_DEBUG: a step, or a debug register.
    pub(in crate::vm) fn debug(&self, cpu: u8, debug: &kvm_debug_exit_arch) {
        let stop = if debug.dr6 & DR6_BREAKPOINTS != 0 { Stop::Register } else { Stop::Step };
        self.find(cpu, Found::Stop(stop));
    }

    /// After each exit: if the vCPU has come to a point, it is to stand still.
    pub(in crate::vm) fn settle(
        &self,
        cpu: u8,
        fd: &mut VcpuFd,
        memory: &GuestMemoryMmap,
        control: &Control,
    ) {
        let found = {
            let mut found = lock(&self.found);
            let Some(at) = found.iter().position(|(other, _)| *other == cpu) else { return };
            found.swap_remove(at).1
        };
        self.complete(cpu, fd, memory);
        let stop = match found {
            Found::Stop(stop) => stop,
            Found::Trap if self.step_back(fd) => Stop::Code,
            // An access of the guest's own to that port.
            Found::Trap => return,
        };
        // One that has come to several points at once has stopped but once.
        lock(&self.found).retain(|(other, _)| *other != cpu);
        lock(&self.stops).push_back((cpu, stop));
        control.hold();
        let _ = self.event.write(1);
    }

    /// Has KVM bring the instruction that left to its end, and execute no other.
    fn complete(&self, cpu: u8, fd: &mut VcpuFd, memory: &GuestMemoryMmap) {
        fd.set_kvm_immediate_exit(1);
        // A store may come in parts.
        while let Exit::MmioWrite(gpa, data) = exit::enter(fd) {
            if !self.store(memory, cpu, gpa, data) {
                break;
            }
        }
        fd.set_kvm_immediate_exit(0);
    }

    /// Puts RIP back to the breakpoint that the vCPU has just passed; `false`: there is none.
    fn step_back(&self, fd: &VcpuFd) -> bool {
        let (Ok(mut regs), Ok(sregs)) = (fd.get_regs(), fd.get_sregs()) else { return false };
        let size = u64::try_from(TRAP.len()).unwrap_or(0);
        let rip = regs.rip.wrapping_sub(size);
        if !self.points().patches.contains_key(&sregs.cs.base.wrapping_add(rip)) {
            return false;
        }
        regs.rip = rip;
        fd.set_regs(&regs).is_ok()
    }
}
