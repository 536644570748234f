//! The machine that a lesson's guest runs on: as little of one as the lesson needs.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kvm_ioctls::VmFd;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::os::fd::{AsRawFd as _, BorrowedFd};
use thiserror::Error;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vm_superio::Trigger;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::program::{Program, START};
use crate::trace::boot::Recorder;
use crate::vm::boot::plan::Entry;
use crate::vm::boot::registers;
use crate::vm::bus::Bus;
use crate::vm::cpuid::Cpuid;
use crate::vm::devices::power::Pm1Control;
use crate::vm::devices::serial::SerialPort;
use crate::vm::devices::virtio::VirtioDevice;
use crate::vm::devices::virtio::block::Block;
use crate::vm::devices::virtio::block::backing::Backing;
use crate::vm::devices::virtio::mmio::Transport;
use crate::vm::vcpu::Vcpu;
use crate::vm::{irq, kvm, layout, memory};
use crate::workload::Disk;

/// How much memory a guest has, in bytes: little enough to be compared at each step.
pub const MEMORY: usize = 256 << 10;
/// What stands in the first sector of the disk.
const SECTOR: &[u8] = b"A sector, read by a queue of your own making.\n";
/// How long a device may take, in milliseconds.
const PATIENCE: u16 = 2000;

/// The mode that a guest finds the processor in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// 16-bit code, as after a reset.
    Real,
    /// 32-bit code, segments flat, without paging.
    Protected,
    /// 64-bit code, the first 4 GiB mapped one to one.
    Long,
}

impl Start {
    /// The same as the entry of a kernel.
    pub fn entry(self) -> Entry {
        match self {
            Start::Real => Entry::Real(START),
            Start::Protected => Entry::Pvh(START.into()),
            Start::Long => Entry::Linux64(START.into()),
        }
    }
}

/// What a lesson's machine has.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// The mode it starts in.
    pub start: Start,
    /// How many processors.
    pub cpus: u8,
    /// Whether KVM has the interrupt controllers, and with them halted processors.
    pub controllers: bool,
}

/// Why there is no such machine.
#[derive(Debug, Error)]
pub enum Error {
    /// KVM is missing or refuses.
    #[error(transparent)]
    Kvm(#[from] kvm::Error),
    /// No memory for the guest.
    #[error(transparent)]
    Memory(#[from] memory::Error),
    /// What else the host cannot give.
    #[error("the lesson's machine cannot be built: {0}")]
    Host(#[source] Box<dyn std::error::Error + Send + Sync>),
}

fn host(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Host(error.into())
}

/// A machine that is ready to run.
pub(super) struct Guest {
    // Fields are dropped in this order: vCPUs before the VM, the VM before its memory.
    pub(super) vcpus: Vec<Vcpu>,
    _vm: VmFd,
    pub(super) memory: GuestMemoryMmap,
    pub(super) bus: Bus,
    disk: Arc<Transport>,
    output: Output,
}

impl Guest {
    /// Builds it, with the program in its memory.
    pub(super) fn new(program: &Program, setup: Setup) -> Result<Guest, Error> {
        let kvm = kvm::open(Path::new(kvm::DEVICE))?;
        let vm = kvm::create_vm(&kvm)?;
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY)]).map_err(host)?;
        memory::register(&vm, &memory)?;
        if setup.controllers {
            irq::create_controllers(&vm)?;
        }
        let entry = setup.start.entry();
        if setup.start != Start::Real {
            registers::write_tables(&memory, entry).map_err(host)?;
        }
        memory.write_slice(&program.code, GuestAddress(START.into())).map_err(host)?;

        let output = Output::default();
        let (bus, disk) = devices(&memory, &output)?;

        let mut vcpus = Vec::new();
        for id in 0..setup.cpus {
            vcpus.push(Vcpu::create(&vm, id)?);
        }
        let cpuid = Cpuid::new(&kvm, setup.cpus, None)?;
        for vcpu in &vcpus {
            vcpu.configure(&cpuid)?;
            vcpu.listen_for_kicks_in_guest_only().map_err(host)?;
        }
        if let Some(bootstrap) = vcpus.first() {
            bootstrap.set_entry(entry)?;
        }
        Ok(Guest { vcpus, _vm: vm, memory, bus, disk, output })
    }

    /// All memory.
    pub(super) fn snapshot(&self) -> Vec<u8> {
        let mut bytes = vec![0; MEMORY];
        // It is all there: the guest cannot take any away.
        let _ = self.memory.read_slice(&mut bytes, GuestAddress(0));
        bytes
    }

    /// Waits until the disk has dealt with what it was asked for: a driver would do something else in the
    /// meantime, and its story would be another each time.
    pub(super) fn wait_for_disk(&self) {
        let line = self.disk.interrupt().line();
        // SAFETY: the descriptor lives in the transport, which is borrowed for longer than this.
        let fd = unsafe { BorrowedFd::borrow_raw(line.as_raw_fd()) };
        let mut wait = [PollFd::new(fd, PollFlags::POLLIN)];
        // A queue that asks for no interrupt, or is broken, raises none.
        if poll(&mut wait, PollTimeout::from(PATIENCE)).is_ok_and(|ready| ready > 0) {
            let _ = line.read();
        }
    }

    /// What came out of the serial port.
    pub(super) fn output(&self) -> Vec<u8> {
        self.output.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.disk.stop();
    }
}

/// A serial port, the register that powers off, and a disk in the first slot of virtio devices.
fn devices(memory: &GuestMemoryMmap, output: &Output) -> Result<(Bus, Arc<Transport>), Error> {
    let mut bus = Bus::default();
    let room = EventFd::new(EFD_NONBLOCK).map_err(host)?;
    let recorder = Arc::new(Recorder::start_now());
    bus.insert(layout::COM1, SerialPort::new(Nobody, room, output.clone(), recorder));
    bus.insert(layout::PM1_CONTROL, Pm1Control::default());

    let disk = Arc::new(Transport::new(disk()?, memory.clone()).map_err(host)?);
    if let Some(slot) = layout::virtio_slots().next() {
        bus.insert_mapped(slot.gpa, disk.clone());
    }
    Ok((bus, disk))
}

/// The disk, with one sector of text, as duplex gives one to Linux.
///
/// # Errors
/// The host has no file descriptor or thread left.
pub fn disk() -> Result<Box<dyn VirtioDevice>, Error> {
    let mut file = File::from(memfd_create(c"disk", MFdFlags::MFD_CLOEXEC).map_err(host)?);
    file.write_all(SECTOR).and_then(|()| file.set_len(4096)).map_err(host)?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let backing = Backing::open(Path::new(&path), true).map_err(host)?;
    Ok(Box::new(Block::new(&Disk::new(path), 0, backing).map_err(host)?))
}

/// What the guest has written, up to a bound.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    /// The most bytes that are kept.
    const MOST: usize = 4096;
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = Output::MOST - kept.len();
        kept.extend(bytes.iter().take(room));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The serial port's interrupt leads nowhere.
struct Nobody;

impl Trigger for Nobody {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        Ok(())
    }
}

/// How long a guest may run in all.
pub(super) const TIME: Duration = Duration::from_secs(6);
