//! How a guest ends, and who may say so.

use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::report::Report;

/// Why the machine stopped.
#[derive(Debug)]
pub enum End {
    /// The guest powered off.
    PowerOff,
    /// Every vCPU is halted with interrupts off: a power-off without ACPI.
    Halted,
    /// The guest asked for a reset.
    Reset,
    /// A vCPU hit a triple fault: by accident, or as a way to reset.
    TripleFault(Report),
    /// KVM could not go on.
    KvmError(Report),
    /// The guest reported a panic through pvpanic.
    GuestPanic,
    /// The VMM failed.
    Failed(Failure),
    /// The person at the terminal asked for it.
    Quit,
    /// A signal asked for it.
    Signal(i32),
}

/// Why the VMM itself failed while the guest ran.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// KVM_RUN could not reach guest memory.
    #[error(
        "vCPU {0} could not reach its memory: a file that backs it (kernel or initrd) was cut off \
         while the guest ran, or the host is out of memory; to replace such a file, rename the new \
         one over it"
    )]
    Memory(u8),
    /// A device could not reach guest memory.
    #[error(
        "a virtio device could not reach the guest's memory: a file that backs it (kernel or initrd) \
         was cut off while the guest ran; to replace such a file, rename the new one over it"
    )]
    DeviceMemory,
    /// KVM_RUN failed otherwise.
    #[error("vCPU {0} cannot run: {1}")]
    Run(u8, #[source] kvm_ioctls::Error),
    /// A bug: a thread panicked; its message is on stderr.
    #[error("vCPU {0}'s thread panicked: this is a bug in duplex")]
    Panicked(u8),
    /// A bug: a thread that works for a device panicked; its message is on stderr.
    #[error("the thread of a virtio device panicked: this is a bug in duplex")]
    DevicePanicked,
    /// The event loop failed.
    #[error("the event loop failed: {0}")]
    EventLoop(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::PowerOff => f.write_str("the guest powered off"),
            End::Halted => f.write_str("all vCPUs halted for good"),
            End::Reset => f.write_str("the guest reset"),
            End::TripleFault(report) | End::KvmError(report) => report.fmt(f),
            End::GuestPanic => f.write_str("the guest kernel panicked: its last lines say why"),
            End::Failed(failure) => failure.fmt(f),
            End::Quit => f.write_str("quit by Ctrl-A x"),
            End::Signal(number) => write!(f, "ended by signal {number}"),
        }
    }
}

/// Where the first end that anybody declares is kept; an eventfd tells the event loop.
pub struct EndSlot {
    end: Mutex<Option<End>>,
    declared: EventFd,
}

impl EndSlot {
    /// An empty slot.
    ///
    /// # Errors
    /// No file descriptor left.
    pub fn new() -> io::Result<EndSlot> {
        let declared = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?;
        Ok(EndSlot { end: Mutex::new(None), declared })
    }

    /// Declares the end; only the first declaration counts.
    pub fn declare(&self, end: End) {
        let mut slot = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            *slot = Some(end);
            // The counter is written once: it cannot overflow.
            let _ = self.declared.write(1);
        }
    }

    /// The eventfd that becomes readable at the end.
    pub fn declared(&self) -> &EventFd {
        &self.declared
    }

    /// Takes the end out.
    pub fn take(&self) -> Option<End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
