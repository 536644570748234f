//! A vCPU's exits, written down for a trace: what KVM's run structure says of each when it was dealt with,
//! where the guest was, and how long guest and VMM took.

use std::cell::Cell;
use std::sync::Arc;

use kvm_bindings::kvm_run;
use kvm_ioctls::{SyncReg, VcpuFd};

use crate::trace::boot::monotonic;
use crate::trace::event::{Event, Exit};
use crate::trace::exits::Reason;
use crate::trace::file::about::{Counters, Source};
use crate::trace::ring::Writer;
use crate::trace::tracer::Tracer;

/// Writes down the exits of one vCPU.
pub(super) struct ExitLog {
    vcpu: u16,
    tracer: Arc<Tracer>,
    lane: Writer,
    /// KVM leaves the registers in the run structure, where they cost nothing to read.
    has_registers: bool,
    entered: Cell<u64>,
    left: Cell<u64>,
    /// The last exit, until it is known how long the VMM took.
    last: Cell<Option<Exit>>,
}

impl ExitLog {
    /// A log for vCPU `id`. `None`: there is one already.
    pub(super) fn new(
        tracer: &Arc<Tracer>,
        id: u8,
        fd: &mut VcpuFd,
        has_registers: bool,
    ) -> Option<Self> {
        let lane = tracer.lane(Source::Vcpu(id.into())).writer()?;
        if has_registers {
            fd.set_sync_valid_reg(SyncReg::Register);
        }
        let (entered, left, last) = (Cell::new(0), Cell::new(0), Cell::new(None));
        let (vcpu, tracer) = (id.into(), tracer.clone());
        Some(ExitLog { vcpu, tracer, lane, has_registers, entered, left, last })
    }

    /// KVM_RUN is about to be called.
    pub(super) fn entering(&self) {
        let now = monotonic();
        self.finish(now);
        self.entered.set(now);
    }

    /// KVM_RUN has returned.
    pub(super) fn left(&self) {
        self.left.set(monotonic());
    }

    /// The exit was dealt with.
    pub(super) fn note(&self, reason: Reason, fd: &mut VcpuFd) {
        let at = self.left.get();
        let guest = at.saturating_sub(self.entered.get());
        let rip = self.has_registers.then(|| fd.sync_regs_mut().regs.rip);
        let exit = described(reason, fd.get_kvm_run());
        self.last.set(Some(Exit { at, guest, rip, ..exit }));
    }

    /// The last exit is over, and no other follows. `fd` tells what KVM itself has counted.
    pub(super) fn end(&self, fd: &VcpuFd) {
        self.finish(monotonic());
        match super::statistics::read(fd) {
            Ok(counted) => self.tracer.counters(&Counters { vcpu: self.vcpu, counted }),
            Err(error) => log::debug!("vCPU {}: KVM's own counts: {error}", self.vcpu),
        }
    }

    fn finish(&self, now: u64) {
        if let Some(exit) = self.last.take() {
            let vmm = now.saturating_sub(exit.at);
            self.lane.put(Event::Exit(Exit { vmm, ..exit }).words());
        }
    }
}

/// What the run structure says of an exit.
fn described(reason: Reason, run: &mut kvm_run) -> Exit {
    let number = run.exit_reason;
    let nothing = Exit {
        reason,
        number,
        at: 0,
        address: 0,
        size: 0,
        count: 0,
        value: 0,
        rip: None,
        guest: 0,
        vmm: 0,
    };
    match reason {
        Reason::PortIn | Reason::PortOut => {
            // SAFETY: for exits of these kinds this is the union's valid member.
            let io = unsafe { run.__bindgen_anon_1.io };
            let offset = usize::try_from(io.data_offset).unwrap_or(0);
            let bytes = usize::from(io.size) * usize::try_from(io.count).unwrap_or(0);
            let mut data = [0; 8];
            // SAFETY: KVM puts that much data at this offset from the run structure's start, inside of
            // the mapping that the vCPU's file descriptor owns and `run` borrows.
            unsafe {
                let first = std::ptr::from_mut(run).cast::<u8>().add(offset);
                std::ptr::copy_nonoverlapping(first, data.as_mut_ptr(), bytes.min(8));
            }
            let (address, value) = (io.port.into(), u64::from_le_bytes(data));
            Exit { address, size: io.size, count: io.count, value, ..nothing }
        }
        Reason::MmioRead | Reason::MmioWrite => {
            // SAFETY: as above.
            let mmio = unsafe { run.__bindgen_anon_1.mmio };
            let size = u8::try_from(mmio.len).unwrap_or(8).min(8);
            let mut data = mmio.data;
            data.iter_mut().skip(size.into()).for_each(|byte| *byte = 0);
            let (address, value) = (mmio.phys_addr, u64::from_le_bytes(data));
            Exit { address, size, count: 1, value, ..nothing }
        }
        Reason::Interrupted | Reason::Other => nothing,
    }
}
