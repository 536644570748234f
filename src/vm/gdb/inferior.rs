//! What a debugger can ask of a guest, whatever runs it.

use std::io;

use super::registers::Registers;

/// Where a guest is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Before the instruction at this linear address, by a change of its code.
    Code(u64),
    /// The same, by a debug register where those work.
    Register(u64),
    /// Behind a store to any of this many bytes from a linear address on.
    Store(u64, u64),
}

/// Why a guest has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// One step is done.
    Step,
    /// At a [`Point::Code`].
    Code,
    /// At a [`Point::Register`].
    Register,
    /// Behind a store to the [`Point::Store`] of this address.
    Store(u64),
}

/// Who is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// All.
    All,
    /// This vCPU alone.
    Only(usize),
    /// This vCPU alone, for an instruction.
    Step(usize),
}

/// A guest under a debugger. All but [`Inferior::resume`] is called while it stands still.
pub trait Inferior {
    /// How many vCPUs it has.
    fn count(&self) -> usize;

    /// The registers of a vCPU.
    ///
    /// # Errors
    /// KVM's.
    fn registers(&mut self, cpu: usize) -> io::Result<Registers>;

    /// Changes the general registers of a vCPU.
    ///
    /// # Errors
    /// KVM's; others have changed, too.
    fn set_registers(&mut self, cpu: usize, registers: &Registers) -> io::Result<()>;

    /// Reads memory at a linear address, as this vCPU sees it; returns how many bytes are there.
    fn read(&mut self, cpu: usize, address: u64, data: &mut [u8]) -> usize;

    /// Writes memory at a linear address; `false` where not all of it is there.
    fn write(&mut self, cpu: usize, address: u64, data: &[u8]) -> bool;

    /// Has the guest stop there; `false` where that cannot be done.
    fn insert(&mut self, point: Point) -> bool;

    /// No longer.
    fn remove(&mut self, point: Point) -> bool;

    /// Lets it run.
    fn resume(&mut self, resume: Resume);

    /// Stops it.
    fn pause(&mut self);

    /// The next stop that was not told of yet.
    fn stopped(&mut self) -> Option<(usize, Stop)>;

    /// Takes all points away and lets it run: nobody watches any more.
    fn release(&mut self);
}
