//! The devices of the machine. A device sees an offset into its own registers, not an address: it
//! does not care where it lives.

pub mod i8042;
pub mod mark;
pub mod pci;
pub mod power;
pub mod pvpanic;
pub mod rtc;
pub mod serial;
pub mod virtio;

/// What a write to a device asks of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Action {
    /// Nothing: go on.
    Continue,
    /// The guest wants the machine reset.
    Reset,
    /// The guest wants the machine powered off.
    PowerOff,
    /// The guest reports that it has panicked.
    Panic,
}

/// The offset of a register, and what it is called when it is read and when it is written.
pub type RegisterNames = (u64, &'static str, &'static str);

/// A device in the MMIO window. Shared by all vCPUs: it locks what it must, and no more.
pub trait MmioDevice: Send + Sync {
    /// What it is called, for people.
    fn name(&self) -> &'static str {
        "device"
    }

    /// What its registers are called: the offset of each, when it is read and when it is written.
    fn registers(&self) -> Vec<RegisterNames> {
        Vec::new()
    }

    /// Fills `data`, one access of 1, 2, 4 or 8 bytes, from the registers at `offset`.
    fn read(&self, offset: u64, data: &mut [u8]);

    /// Takes `data`, one access of 1, 2, 4 or 8 bytes, into the registers at `offset`.
    fn write(&self, offset: u64, data: &[u8]);
}

/// A device on the port bus.
pub trait PortDevice: Send {
    /// What it is called, for people.
    fn name(&self) -> &'static str {
        "device"
    }

    /// What its registers are called: the offset of each, when it is read and when it is written.
    fn registers(&self) -> Vec<RegisterNames> {
        Vec::new()
    }

    /// Fills `data`, one access of 1, 2 or 4 bytes, from the registers at `offset`.
    fn read(&mut self, offset: u16, data: &mut [u8]);

    /// Takes `data`, one access of 1, 2 or 4 bytes, into the registers at `offset`.
    fn write(&mut self, offset: u16, data: &[u8]) -> Action;
}
