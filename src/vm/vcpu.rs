//! A vCPU: its registers at the start, and the loop that runs it.

use std::io;
use std::sync::Arc;

use kvm_bindings::{
    KVM_MP_STATE_HALTED, KVM_MP_STATE_INIT_RECEIVED, KVM_MP_STATE_UNINITIALIZED,
    KVM_VCPUEVENT_VALID_NMI_PENDING, Msrs, kvm_msr_entry,
};
use kvm_ioctls::{VcpuFd, VmFd};
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap};
use vmm_sys_util::ioctl::ioctl_with_ref;

use super::boot::plan::Entry;
use super::boot::registers;
use super::bus::Bus;
use super::control::{Control, Request, Snapshot, forget_kick, kick_signal};
use super::cpuid::Cpuid;
use super::devices::Action;
use super::end::{End, EndSlot, Failure};
use super::exit::{self, Exit};
use super::exit_log::ExitLog;
use super::gdb::hooks::Hooks;
use super::kvm::Error;
use super::report::{Cause, Report};
use crate::trace::boot::{Phase, Recorder};
use crate::trace::exits::{ExitCounts, Reason};
use crate::trace::tracer::Tracer;

mod ioctl {
    use kvm_bindings::{KVMIO, kvm_signal_mask};
    // The one vCPU ioctl that kvm-ioctls lacks (Linux, Documentation/virt/kvm/api.rst, 4.21).
    vmm_sys_util::ioctl_iow_nr!(KVM_SET_SIGNAL_MASK, KVMIO, 0x8b, kvm_signal_mask);
}

// Model-specific registers (Intel SDM vol. 4; AMD APM vol. 2, appendix A).
const MSR_IA32_MISC_ENABLE: u32 = 0x1A0;
const MISC_ENABLE_FAST_STRING: u64 = 1 << 0;
const MSR_MTRR_DEF_TYPE: u32 = 0x2FF;
const MTRR_ENABLE: u64 = 1 << 11;
const MTRR_WRITE_BACK: u64 = 6;
const RFLAGS_IF: u64 = 1 << 9;

/// What every vCPU thread shares.
pub struct Shared {
    /// The devices.
    pub bus: Bus,
    /// Guest memory; also keeps it mapped for as long as a vCPU can run.
    pub memory: GuestMemoryMmap,
    /// Pause and stop.
    pub control: Arc<Control>,
    /// Where the end is declared.
    pub end: Arc<EndSlot>,
    /// Boot phases.
    pub recorder: Arc<Recorder>,
    /// A debugger's.
    pub(super) hooks: Option<Arc<Hooks>>,
}

impl Shared {
    fn is_ram(&self, gpa: u64) -> bool {
        self.memory.address_in_range(GuestAddress(gpa))
    }
}

/// A vCPU that is ready to run.
pub struct Vcpu {
    id: u8,
    fd: VcpuFd,
    log: Option<ExitLog>,
}

impl Vcpu {
    /// Creates vCPU `id`, which is also its APIC id.
    ///
    /// # Errors
    /// KVM's.
    pub fn create(vm: &VmFd, id: u8) -> Result<Vcpu, Error> {
        let fd = vm.create_vcpu(id.into()).map_err(|error| Error::Call("create a vCPU", error))?;
        Ok(Vcpu { id, fd, log: None })
    }

    /// Its number, and its APIC id.
    pub fn id(&self) -> u8 {
        self.id
    }

    /// Gives it its CPUID and MSRs.
    ///
    /// # Errors
    /// KVM's, with what it could not do.
    pub fn configure(&self, cpuid: &Cpuid) -> Result<(), Error> {
        let Vcpu { id, fd, .. } = self;
        fd.set_cpuid2(&cpuid.of_vcpu(*id)?).map_err(|error| Error::Call("set CPUID", error))?;
        let msrs = [
            (MSR_IA32_MISC_ENABLE, MISC_ENABLE_FAST_STRING),
            (MSR_MTRR_DEF_TYPE, MTRR_ENABLE | MTRR_WRITE_BACK),
        ];
        let entries = msrs.map(|(index, data)| kvm_msr_entry { index, data, ..Default::default() });
        let set = Msrs::from_entries(&entries)
            .map_err(|_| kvm_ioctls::Error::new(libc::E2BIG))
            .and_then(|msrs| fd.set_msrs(&msrs))
            .map_err(|error| Error::Call("set MSRs", error))?;
        if set < entries.len() {
            return Err(Error::Call("set MSRs", kvm_ioctls::Error::new(libc::EINVAL)));
        }
        Ok(())
    }

    /// Gives the bootstrap processor its first registers. The others wait for its SIPI.
    ///
    /// # Errors
    /// KVM's, with what it could not do.
    pub fn set_entry(&self, entry: Entry) -> Result<(), Error> {
        let registers = |error| Error::Call("set registers", error);
        let sregs = self.fd.get_sregs().map_err(registers)?;
        self.fd.set_sregs(&registers::system(entry, sregs)).map_err(registers)?;
        self.fd.set_regs(&registers::general(entry)).map_err(registers)
    }

    /// The TSC's frequency in kHz, where KVM knows it.
    pub fn tsc_khz(&self) -> Option<u32> {
        self.fd.get_tsc_khz().ok().filter(|khz| *khz != 0)
    }

    /// Has its exits written down. `has_registers`: KVM can leave the registers where they cost nothing.
    pub fn trace(&mut self, tracer: &Arc<Tracer>, has_registers: bool) {
        self.log = ExitLog::new(tracer, self.id, &mut self.fd, has_registers);
    }

    /// Runs the guest on this thread until the machine ends; returns how often it left.
    pub fn run(mut self, shared: &Shared) -> ExitCounts {
        let mut counts = ExitCounts::default();
        if let Err(error) = self.listen_for_kicks_in_guest_only() {
            let error = kvm_ioctls::Error::new(error.raw_os_error().unwrap_or(libc::EINVAL));
            shared.end.declare(End::Failed(Failure::Run(self.id, error)));
            return counts;
        }
        shared.recorder.reached(Phase::FirstRun);
        loop {
            match shared.control.next(self.id) {
                Request::Run => {}
                Request::Pause => shared.control.park(self.id, self.snapshot()),
                Request::Stop => break,
            }
            if let Some(log) = &self.log {
                log.entering();
            }
            let (reason, end) = self.step(shared);
            counts.count(reason);
            if let Some(log) = &self.log {
                log.note(reason, &mut self.fd);
            }
            if let Some(hooks) = &shared.hooks {
                hooks.settle(self.id, &mut self.fd, &shared.memory, &shared.control);
            }
            if let Some(end) = end {
                shared.end.declare(end);
                break;
            }
        }
        if let Some(log) = &self.log {
            log.end(&self.fd);
        }
        counts
    }

    /// Enters the guest once and deals with why it left.
    fn step(&mut self, shared: &Shared) -> (Reason, Option<End>) {
        let id = self.id;
        let hooks = shared.hooks.as_deref();
        let exit = exit::enter(&mut self.fd);
        if let Some(log) = &self.log {
            log.left();
        }
        match exit {
            Exit::MmioWrite(gpa, data)
                if hooks.is_some_and(|hooks| hooks.store(&shared.memory, id, gpa, data)) =>
            {
                (Reason::MmioWrite, None)
            }
            Exit::PortOut(port, ..) if hooks.is_some_and(|hooks| hooks.port_out(id, port)) => {
                (Reason::PortOut, None)
            }
            // No device lives in RAM: KVM found no page there to read or write.
            Exit::MmioRead(gpa, _) | Exit::MmioWrite(gpa, _) if shared.is_ram(gpa) => {
                (Reason::Other, Some(End::Failed(Failure::Memory(id))))
            }
            Exit::PortIn(port, size, data) => {
                shared.bus.port_in(port, size, data);
                (Reason::PortIn, None)
            }
            Exit::PortOut(port, size, data) => {
                let end = match shared.bus.port_out(port, size, data) {
                    Action::Continue => None,
                    Action::Reset => Some(End::Reset),
                    Action::PowerOff => Some(End::PowerOff),
                    Action::Panic => Some(End::GuestPanic),
                };
                (Reason::PortOut, end)
            }
            Exit::MmioRead(gpa, data) => {
                shared.bus.mmio_read(gpa, data);
                (Reason::MmioRead, None)
            }
            Exit::MmioWrite(gpa, data) => {
                shared.bus.mmio_write(gpa, data);
                (Reason::MmioWrite, None)
            }
            Exit::Debug(debug) => {
                if let Some(hooks) = hooks {
                    hooks.debug(id, &debug);
                }
                (Reason::Other, None)
            }
            // There are interrupt controllers: it stays in KVM.
            Exit::Halted => (Reason::Other, None),
            Exit::Interrupted => {
                forget_kick();
                (Reason::Interrupted, None)
            }
            Exit::NotStarted => {
                self.drop_early_nmi();
                (Reason::Other, None)
            }
            Exit::Fatal(cause) => {
                let report = Report::new(id, cause, &self.fd, &shared.memory);
                let end = match cause {
                    _ if report.lost_memory() => End::Failed(Failure::Memory(id)),
                    Cause::TripleFault => End::TripleFault(report),
                    _ => End::KvmError(report),
                };
                (Reason::Other, Some(end))
            }
            Exit::LostMemory => (Reason::Other, Some(End::Failed(Failure::Memory(id)))),
            Exit::Failed(error) => (Reason::Other, Some(End::Failed(Failure::Run(id, error)))),
        }
    }

    /// A processor that waits for its SIPI ignores NMIs. KVM keeps one pending instead, and then
    /// KVM_RUN doesn't wait any more but returns at once, for ever: a guest that stops its
    /// processors by an NMI to all of them would make those it never started spin.
    fn drop_early_nmi(&self) {
        let Ok(mut events) = self.fd.get_vcpu_events() else { return };
        if self.is_started() || events.nmi.pending == 0 {
            return;
        }
        events.nmi.pending = 0;
        events.flags |= KVM_VCPUEVENT_VALID_NMI_PENDING;
        if let Err(error) = self.fd.set_vcpu_events(&events) {
            log::debug!("vCPU {}: a pending NMI cannot be dropped: {error}", self.id);
        }
    }

    fn is_started(&self) -> bool {
        let state = self.fd.get_mp_state().map(|state| state.mp_state);
        !matches!(state, Ok(KVM_MP_STATE_UNINITIALIZED | KVM_MP_STATE_INIT_RECEIVED))
    }

    /// How this vCPU is, for whoever paused it.
    fn snapshot(&self) -> Snapshot {
        let state = self.fd.get_mp_state().map(|state| state.mp_state);
        let (rip, rflags) = self.fd.get_regs().map_or((0, RFLAGS_IF), |r| (r.rip, r.rflags));
        let halted = state == Ok(KVM_MP_STATE_HALTED) && rflags & RFLAGS_IF == 0;
        Snapshot { dead: halted || !self.is_started(), rip }
    }

    /// KVM's side of it.
    pub fn fd(&mut self) -> &mut VcpuFd {
        &mut self.fd
    }

    /// Opens the thread's signal mask to the kick signal for the time inside KVM_RUN.
    ///
    /// # Errors
    /// KVM's.
    pub fn listen_for_kicks_in_guest_only(&self) -> io::Result<()> {
        #[repr(C, packed)]
        struct SignalMask {
            length: u32,
            blocked: u64,
        }
        let mask = SignalMask { length: 8, blocked: !(1 << (kick_signal() - 1)) };
        // SAFETY: KVM reads `length` and then that many bytes of signal set, which follow in the
        // packed structure.
        match unsafe { ioctl_with_ref(&self.fd, ioctl::KVM_SET_SIGNAL_MASK(), &mask) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
