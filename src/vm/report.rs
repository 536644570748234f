//! What is said when a vCPU cannot go on: where it was, what it executed, why, and what to try.

use std::fmt;

use kvm_bindings::{
    KVM_INTERNAL_ERROR_DELIVERY_EV, KVM_INTERNAL_ERROR_EMULATION, KVM_INTERNAL_ERROR_SIMUL_EX,
    KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON,
};
use kvm_ioctls::VcpuFd;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

/// How many bytes at RIP are shown: the longest x86 instruction has 15.
const SHOWN_BYTES: usize = 16;
/// Where a processor starts after a reset: F000:FFF0.
const RESET_RIP: u64 = 0xFFF0;
const RESET_CS_BASE: u64 = 0xFFFF_0000;

/// Why a vCPU cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// KVM_EXIT_SHUTDOWN: an exception while delivering a double fault.
    TripleFault,
    /// KVM_EXIT_INTERNAL_ERROR with its suberror.
    Internal(u32),
    /// KVM_EXIT_FAIL_ENTRY with the processor's reason.
    FailEntry(u64),
    /// An exit that this VMM never asks for.
    Unexpected(u32),
}

/// The report on one vCPU.
#[derive(Debug)]
pub struct Report {
    vcpu: u8,
    cause: Cause,
    place: Option<Place>,
}

#[derive(Debug)]
struct Place {
    rip: u64,
    cs_base: u64,
    mode: &'static str,
    bytes: Option<Vec<u8>>,
    /// RIP points to RAM, and yet there are no bytes.
    lost: bool,
}

impl Report {
    /// Looks at the vCPU and the memory at its instruction pointer.
    pub fn new(vcpu: u8, cause: Cause, fd: &VcpuFd, memory: &GuestMemoryMmap) -> Report {
        Report { vcpu, cause, place: Place::of(fd, memory) }
    }

    /// Whether the vCPU cannot go on because the memory that it executes is gone: the file behind
    /// it was cut off.
    pub fn lost_memory(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.lost)
    }
}

impl Place {
    fn of(fd: &VcpuFd, memory: &GuestMemoryMmap) -> Option<Place> {
        let (regs, sregs) = (fd.get_regs().ok()?, fd.get_sregs().ok()?);
        let mode = match (sregs.cr0 & 1 != 0, sregs.efer & 1 << 10 != 0, sregs.cs.l != 0) {
            (false, ..) => "real mode",
            (true, true, true) => "64-bit mode",
            (true, true, false) => "compatibility mode",
            (true, false, _) => "protected mode",
        };
        let linear = sregs.cs.base.wrapping_add(regs.rip);
        let found = fd.translate_gva(linear).ok().filter(|found| found.valid != 0);
        let gpa = found.map(|found| GuestAddress(found.physical_address));
        let bytes = gpa.and_then(|gpa| read(memory, gpa));
        let lost = bytes.is_none() && gpa.is_some_and(|gpa| memory.address_in_range(gpa));
        Some(Place { rip: regs.rip, cs_base: sregs.cs.base, mode, bytes, lost })
    }
}

/// Reads guest memory without ever faulting: pages of a file that was cut off give `None`.
fn read(memory: &GuestMemoryMmap, gpa: GuestAddress) -> Option<Vec<u8>> {
    let host = memory.get_host_address(gpa).ok()?;
    let mut bytes = vec![0; SHOWN_BYTES];
    let remote = RemoteIoVec { base: host as usize, len: SHOWN_BYTES };
    let mut local = [std::io::IoSliceMut::new(&mut bytes)];
    let read = process_vm_readv(Pid::this(), &mut local, &[remote]).ok()?;
    bytes.truncate(read);
    Some(bytes)
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Cause::TripleFault => f.write_str("triple fault (KVM_EXIT_SHUTDOWN)"),
            Cause::Internal(suberror) => {
                let meaning = match suberror {
                    KVM_INTERNAL_ERROR_EMULATION => "KVM cannot emulate this instruction",
                    KVM_INTERNAL_ERROR_SIMUL_EX => "two exceptions at once",
                    KVM_INTERNAL_ERROR_DELIVERY_EV => "an exit while an event was delivered",
                    KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON => {
                        "the processor left for a reason that KVM does not know"
                    }
                    _ => "no reason that this version knows",
                };
                write!(f, "KVM internal error, suberror {suberror}: {meaning}")
            }
            Cause::FailEntry(reason) => {
                write!(f, "the processor refused to enter the guest (reason {reason:#x})")
            }
            Cause::Unexpected(reason) => write!(f, "unexpected exit {reason} from KVM"),
        }
    }
}

impl Cause {
    fn remedy(self) -> &'static str {
        match self {
            Cause::TripleFault => {
                "if the guest meant to reset, boot it with 'reboot=t'; else see its last lines on \
                 the console (earlyprintk=serial,ttyS0 or console=ttyS0 shows more)"
            }
            Cause::Internal(KVM_INTERNAL_ERROR_EMULATION) => {
                "on a host without hardware virtualization KVM interprets kernel code and lacks \
                 many instructions: see 'duplex doctor', and use --testbed auto"
            }
            _ => "see the host kernel's log (dmesg) for what KVM says about it",
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vCPU {}: {}", self.vcpu, self.cause)?;
        if let Some(place) = &self.place {
            if (place.rip, place.cs_base) == (RESET_RIP, RESET_CS_BASE) {
                write!(f, "\n  at: unknown (AMD-V resets the processor at a triple fault)")?;
            } else {
                write!(f, "\n  at: RIP {:#x} ({}", place.rip, place.mode)?;
                if place.cs_base != 0 {
                    write!(f, ", CS base {:#x}", place.cs_base)?;
                }
                f.write_str(")")?;
                match &place.bytes {
                    Some(bytes) => {
                        f.write_str("\n  bytes there:")?;
                        bytes.iter().try_for_each(|byte| write!(f, " {byte:02x}"))?;
                    }
                    None => f.write_str("\n  bytes there: no memory is mapped there")?,
                }
            }
        }
        write!(f, "\n  try: {}", self.cause.remedy())
    }
}
