//! How often a vCPU left the guest, and why.

use serde::{Deserialize, Serialize};

/// Why a vCPU came back from KVM_RUN (Linux, Documentation/virt/kvm/api.rst, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// KVM_EXIT_IO, `in`.
    PortIn,
    /// KVM_EXIT_IO, `out`.
    PortOut,
    /// KVM_EXIT_MMIO, a load.
    MmioRead,
    /// KVM_EXIT_MMIO, a store.
    MmioWrite,
    /// The vCPU was kicked by a signal.
    Interrupted,
    /// Anything else.
    Other,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 6] = [
        Reason::PortIn,
        Reason::PortOut,
        Reason::MmioRead,
        Reason::MmioWrite,
        Reason::Interrupted,
        Reason::Other,
    ];

    /// Its number in a trace.
    pub(super) fn number(self) -> u8 {
        self as u8
    }

    /// The reason with this number.
    pub(super) fn from_number(number: u8) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.number() == number)
    }

    /// The reason for a person.
    pub fn describe(self) -> &'static str {
        match self {
            Reason::PortIn => "port read",
            Reason::PortOut => "port write",
            Reason::MmioRead => "MMIO read",
            Reason::MmioWrite => "MMIO write",
            Reason::Interrupted => "interrupted by the VMM",
            Reason::Other => "other",
        }
    }
}

/// Exits by reason. Each vCPU counts its own; the sums are made when it has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitCounts {
    /// Port reads.
    pub port_in: u64,
    /// Port writes.
    pub port_out: u64,
    /// Loads from where no memory is.
    pub mmio_read: u64,
    /// Stores to where no memory is.
    pub mmio_write: u64,
    /// Kicks by the VMM.
    pub interrupted: u64,
    /// The rest.
    pub other: u64,
}

impl ExitCounts {
    /// Counts one exit.
    pub fn count(&mut self, reason: Reason) {
        let counter = match reason {
            Reason::PortIn => &mut self.port_in,
            Reason::PortOut => &mut self.port_out,
            Reason::MmioRead => &mut self.mmio_read,
            Reason::MmioWrite => &mut self.mmio_write,
            Reason::Interrupted => &mut self.interrupted,
            Reason::Other => &mut self.other,
        };
        *counter += 1;
    }

    /// Adds another vCPU's counts.
    pub fn add(&mut self, other: &ExitCounts) {
        self.port_in += other.port_in;
        self.port_out += other.port_out;
        self.mmio_read += other.mmio_read;
        self.mmio_write += other.mmio_write;
        self.interrupted += other.interrupted;
        self.other += other.other;
    }

    /// All exits to user space.
    pub fn total(&self) -> u64 {
        self.port_in
            + self.port_out
            + self.mmio_read
            + self.mmio_write
            + self.interrupted
            + self.other
    }

    /// Name and count, for a table.
    pub fn rows(&self) -> [(&'static str, u64); 6] {
        [
            (Reason::PortIn.describe(), self.port_in),
            (Reason::PortOut.describe(), self.port_out),
            (Reason::MmioRead.describe(), self.mmio_read),
            (Reason::MmioWrite.describe(), self.mmio_write),
            (Reason::Interrupted.describe(), self.interrupted),
            (Reason::Other.describe(), self.other),
        ]
    }
}
