//! What a step of a guest is: one instruction, what it has changed, and where it left the guest.

use kvm_bindings::{kvm_regs, kvm_sregs};
use serde::Serialize;

use super::happened::Delivered;
use super::walk::Walk;
use crate::trace::devices::DeviceMap;

/// The registers of a processor between two instructions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Registers {
    /// General registers, RIP and RFLAGS.
    pub general: kvm_regs,
    /// Segments, tables and control registers.
    pub system: kvm_sregs,
}

impl Registers {
    /// Not in real mode: CR0.PE.
    pub(super) fn are_protected(&self) -> bool {
        self.system.cr0 & 1 << 0 != 0
    }

    /// Addresses are translated: CR0.PG.
    pub(super) fn have_paging(&self) -> bool {
        self.system.cr0 & 1 << 31 != 0
    }

    /// In long mode, whatever the code's width: EFER.LMA.
    pub(super) fn are_long(&self) -> bool {
        self.system.efer & 1 << 10 != 0
    }
}

/// Why the guest left to duplex in the middle of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Left {
    /// KVM_EXIT_IO, `in`: the port, and what it was given.
    PortIn {
        /// The port.
        port: u16,
        /// The bytes that it read.
        data: Vec<u8>,
    },
    /// KVM_EXIT_IO, `out`.
    PortOut {
        /// The port.
        port: u16,
        /// The bytes that it wrote.
        data: Vec<u8>,
    },
    /// KVM_EXIT_MMIO, a load.
    MmioRead {
        /// The guest-physical address.
        gpa: u64,
        /// The bytes that it read.
        data: Vec<u8>,
    },
    /// KVM_EXIT_MMIO, a store.
    MmioWrite {
        /// The guest-physical address.
        gpa: u64,
        /// The bytes that it wrote.
        data: Vec<u8>,
    },
    /// KVM_EXIT_HLT.
    Halt,
    /// KVM_EXIT_SHUTDOWN: a triple fault.
    Shutdown,
    /// KVM_EXIT_INTERNAL_ERROR.
    InternalError,
}

/// Memory that has changed: aligned words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Stored {
    /// Its guest-physical address.
    pub gpa: u64,
    /// What is there now.
    pub value: u64,
    /// What was there before.
    pub before: u64,
    /// How many bytes the word has.
    pub size: usize,
}

/// A register of the local APIC that has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ApicWrite {
    /// Its offset from the APIC's first address.
    pub offset: usize,
    /// What it holds now.
    pub value: u32,
}

/// One instruction of a processor, or what came instead of it.
#[derive(Clone, Debug)]
pub struct Step {
    /// Whose.
    pub cpu: usize,
    /// The guest-physical address of the instruction; `None` where it cannot be translated.
    pub gpa: Option<u64>,
    /// The registers before it.
    pub before: Registers,
    /// The registers after it.
    pub after: Registers,
    /// The exits to duplex on its way.
    pub left: Vec<Left>,
    /// What it has changed in memory.
    pub stored: Vec<Stored>,
    /// What it has changed in the local APIC, which KVM has.
    pub apic: Vec<ApicWrite>,
    /// The interrupt or exception that it ended in.
    pub delivered: Option<Delivered>,
    /// It was `hlt`, and KVM kept the processor until something woke it or nothing could.
    pub slept: bool,
    /// It was `cpuid`: what the host's processor answers to the same question, in EAX, EBX, ECX and EDX.
    pub host_cpuid: Option<[u32; 4]>,
    /// The way through the page tables of an address that matters.
    pub walk: Option<Walk>,
}

impl Step {
    /// The vector of the interrupt or exception that it ended in.
    pub fn vector(&self) -> Option<u8> {
        self.delivered.map(|delivered| delivered.vector)
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// All processors are halted, and no interrupt can wake them.
    Halted,
    /// The guest has powered the machine off, or reset it.
    PoweredOff,
    /// A triple fault.
    TripleFault,
    /// KVM cannot execute an instruction.
    NotExecuted,
    /// Too many instructions.
    TooManySteps,
    /// It took too long, or waits for what does not come.
    TimeUp,
}

/// All that happened.
#[derive(Clone, Debug)]
pub struct Record {
    /// Each instruction, in the order in which they were executed.
    pub steps: Vec<Step>,
    /// The devices of the machine.
    pub devices: DeviceMap,
    /// How it ended.
    pub ending: Ending,
    /// What came out of the serial port.
    pub output: Vec<u8>,
    /// All memory as it was left.
    pub memory: Vec<u8>,
    /// The registers of the processor that made the last step.
    pub last: Registers,
}

impl Record {
    /// All exits to duplex.
    pub fn exits(&self) -> impl Iterator<Item = &Left> {
        self.steps.iter().flat_map(|step| &step.left)
    }

    /// How many there were.
    pub fn exit_count(&self) -> usize {
        self.exits().count()
    }

    /// The serial port's output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// A 32-bit word of memory as it was left; 0 where there is none.
    pub fn word(&self, gpa: usize) -> u32 {
        let bytes = gpa.checked_add(4).and_then(|end| self.memory.get(gpa..end));
        bytes.and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
    }

    /// How often an interrupt or exception of this vector came.
    pub fn count_of(&self, vector: u8) -> usize {
        self.steps.iter().filter(|step| step.vector() == Some(vector)).count()
    }
}
