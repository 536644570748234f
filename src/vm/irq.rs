//! Interrupts: the in-kernel controllers, and lines that are raised by writing to an eventfd.

use kvm_bindings::{KVM_PIT_SPEAKER_DUMMY, kvm_pit_config};
use kvm_ioctls::VmFd;
use std::io;
use vm_superio::Trigger;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::kvm::Error;
use super::layout::{IDENTITY_MAP, TSS};
use crate::trace::boot::monotonic;
use crate::trace::event::Event;
use crate::trace::ring::Writer;

/// Creates PIC, I/O APIC, local APICs and PIT inside KVM. KVM then wires GSI n to PIC input n and
/// I/O APIC input n. Comes before the vCPUs, so that they get local APICs.
///
/// # Errors
/// KVM's, with what it could not do.
pub fn create_controllers(vm: &VmFd) -> Result<(), Error> {
    let tss = usize::try_from(TSS.start).unwrap_or(usize::MAX);
    vm.set_identity_map_address(IDENTITY_MAP.start)
        .map_err(|error| Error::Call("set the identity map's address", error))?;
    vm.set_tss_address(tss).map_err(|error| Error::Call("set the TSS address", error))?;
    vm.create_irq_chip().map_err(|error| Error::Call("create the interrupt controllers", error))?;
    // With the speaker's port (0x61) answered in the kernel, guests that calibrate by it can.
    let config = kvm_pit_config { flags: KVM_PIT_SPEAKER_DUMMY, ..Default::default() };
    vm.create_pit2(config).map_err(|error| Error::Call("create the PIT", error))
}

/// An edge-triggered interrupt line: a write to the eventfd is a pulse on the GSI.
pub struct Line {
    event: EventFd,
    /// Where its pulses are recorded, if anybody wants to know.
    lane: Option<Writer>,
}

impl Line {
    /// Connects an eventfd to `gsi`.
    ///
    /// # Errors
    /// KVM's, or no file descriptor left.
    pub fn connect(vm: &VmFd, gsi: u32) -> Result<Line, Error> {
        let failed = |error| Error::Call("connect an interrupt line", error);
        let event = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)
            .map_err(|error| failed(kvm_ioctls::Error::new(error.raw_os_error().unwrap_or(0))))?;
        vm.register_irqfd(&event, gsi).map_err(failed)?;
        Ok(Line { event, lane: None })
    }

    /// Has its pulses recorded.
    pub fn trace(self, lane: Option<Writer>) -> Line {
        Line { lane, ..self }
    }
}

impl Trigger for Line {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        if let Some(lane) = &self.lane {
            lane.put(Event::Notified { at: monotonic(), interrupt: true }.words());
        }
        self.event.write(1)
    }
}
