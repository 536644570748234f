//! The boot recipe, as numbered steps, and the machine that comes out of it.

use std::io;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use kvm_ioctls::{Cap, IoEventAddress, VmFd};
use thiserror::Error;
use vm_memory::{Bytes, GuestAddress, GuestMemoryError, GuestMemoryMmap};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::boot::load::{self, Loaded};
use super::boot::plan::{Entry, Plan};
use super::boot::{acpi, mp_table, pvh, registers, zero_page};
use super::bus::Bus;
use super::control::{Control, KickBlocked, Threads};
use super::cpuid::Cpuid;
use super::devices::PortDevice;
use super::devices::i8042::I8042;
use super::devices::mark::BootMark;
use super::devices::pci::PciConfig;
use super::devices::power::{Pm1Control, Pm1Event, ResetRegister};
use super::devices::pvpanic::Pvpanic;
use super::devices::rtc::Rtc;
use super::devices::serial::SerialPort;
use super::devices::virtio::VirtioDevice;
use super::devices::virtio::mmio::{QUEUE_NOTIFY, Transport};
use super::end::{End, EndSlot, Failure};
use super::gdb;
use super::irq::{self, Line};
use super::layout::{self, Ports, VirtioSlot};
use super::lost_memory::LostMemory;
use super::output::{GuestOutput, Output};
use super::vcpu::{Shared, Vcpu};
use super::{kvm, memory};
use crate::trace::boot::{Phase, Recorder};
use crate::trace::file::about::Source;
use crate::workload::Cpus;

/// Why the machine could not be built. Everything about the files was checked by the plan.
#[derive(Debug, Error)]
pub enum Error {
    /// KVM is missing or refuses.
    #[error(transparent)]
    Kvm(#[from] kvm::Error),
    /// No memory for the guest.
    #[error(transparent)]
    Memory(#[from] memory::Error),
    /// Kernel or initrd changed since they were checked.
    #[error(transparent)]
    Load(#[from] load::Error),
    /// Boot data does not fit: the plan and the layout rule that out.
    #[error("boot data cannot be written to guest memory: {0}")]
    BootData(#[from] GuestMemoryError),
    /// No file descriptor, or no thread, left.
    #[error("the host is out of {0}: {1}")]
    Resources(&'static str, #[source] io::Error),
}

/// The stack of each thread, in bytes. With the usual 2 MiB one may come to lie just below guest memory,
/// a huge page in size and place, and hosts before Linux 6.7 would clear all of it.
const STACK: usize = 512 << 10;

/// The serial port that the machine and its console share.
pub type SharedSerial = Arc<Mutex<SerialPort<Line, GuestOutput>>>;

/// A serial port and the eventfd that says when the guest has room for input.
pub struct SerialLine {
    /// The port.
    pub port: SharedSerial,
    /// Readable when the guest may have room for input.
    pub room: EventFd,
}

/// A VM that is ready to run.
pub struct Machine {
    // Fields are dropped in this order: vCPUs before the VM, the VM before its memory.
    vcpus: Vec<Vcpu>,
    vm: VmFd,
    gdb: Option<gdb::Server>,
    shared: Arc<Shared>,
    virtio: Transports,
    lost_memory: LostMemory,
    /// The serial port, if there is one.
    pub serial: Option<SerialLine>,
    /// How kernel and initrd came into memory.
    pub loaded: Loaded,
}

impl Machine {
    /// Builds the machine that `plan` describes, with these virtio devices in the first slots.
    ///
    /// # Errors
    /// Whatever the host lacks, or files that changed since the plan was made.
    pub fn build(
        device: &Path,
        plan: &Plan,
        cpus: Cpus,
        virtio: Vec<Box<dyn VirtioDevice>>,
        output: Option<&Output>,
        recorder: Arc<Recorder>,
    ) -> Result<Machine, Error> {
        // (1) Open KVM and check capabilities.
        let kvm = kvm::open(device)?;

        // (2) Memory.
        let memory = if virtio.iter().any(|device| device.shares_memory()) {
            memory::allocate_shared(plan.memory)?
        } else {
            memory::allocate(plan.memory)?
        };
        let lost_memory = LostMemory::watch(&memory)
            .map_err(|error| Error::Resources("means to watch guest memory", error))?;
        recorder.reached(Phase::Memory);
        let with_serial = output.is_some();
        let slots: Vec<VirtioSlot> = layout::virtio_slots().take(virtio.len()).collect();

        // (3) and (4) are done by a thread of their own while KVM makes the VM: before Linux 6.14 that
        // waits for a grace period of RCU, as KVM moves a thread of its own to this process' cgroup.
        let (vm, loaded) = thread::scope(|scope| {
            let fill = || fill_memory(&memory, plan, cpus.count(), with_serial, &slots, &recorder);
            let filler = thread::Builder::new().name("memory".into()).stack_size(STACK);
            let filler = filler.spawn_scoped(scope, fill);
            let vm = create_vm(&kvm, &memory, &recorder);
            (vm, filler.map(|filler| filler.join().unwrap_or_else(|panic| resume_unwind(panic))))
        });
        let vm = vm?;
        let loaded = loaded.map_err(|error| Error::Resources("threads", error))??;

        // (6) Devices on the bus.
        let control = Arc::new(Control::default());
        let mut bus = Bus::default();
        insert_devices(&mut bus, &recorder);
        let serial = output
            .map(|output| {
                insert_serial(&mut bus, &vm, output.for_guest(control.clone()), &recorder)
            })
            .transpose()?;
        let virtio = insert_virtio(&mut bus, &vm, &memory, virtio, &slots)?;

        // (7) vCPUs: CPUID, MSRs, registers.
        let vcpus = create_vcpus(&kvm, &vm, cpus.count(), plan.entry)?;
        recorder.reached(Phase::VcpusReady);

        let end = EndSlot::new().map_err(|error| Error::Resources("file descriptors", error))?;
        let end = Arc::new(end);
        let shared = Arc::new(Shared { bus, memory, control, end, recorder, hooks: None });
        Ok(Machine { vcpus, vm, gdb: None, shared, virtio, lost_memory, serial, loaded })
    }

    /// Puts one more device on the bus, on ports that the layout leaves free.
    pub fn insert_device(&mut self, ports: Ports, device: impl PortDevice + 'static) {
        // Nobody else has the shared part before the vCPUs were started.
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.bus.insert(ports, device);
        }
    }

    /// Has debuggers served once it runs: it stands still until one lets it go on.
    ///
    /// # Errors
    /// No file descriptor left.
    pub fn debug(&mut self, settings: gdb::Settings) -> Result<(), Error> {
        let descriptors = |error| Error::Resources("file descriptors", error);
        let memory = &self.shared.memory;
        let debugger = gdb::Debugger::new(&self.vm, &mut self.vcpus, memory, settings.view)
            .map_err(descriptors)?;
        // Nobody else has the shared part before the vCPUs were started.
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.hooks = Some(debugger.hooks());
        }
        self.shared.control.hold();
        self.gdb = Some(gdb::Server::new(debugger, settings));
        Ok(())
    }

    /// What serves debuggers, if that was asked for.
    pub(super) fn take_debugger(&mut self) -> Option<gdb::Server> {
        self.gdb.take()
    }

    /// (8) Starts a thread a vCPU; (9) they run.
    ///
    /// # Errors
    /// The host has no thread left; those that were started are stopped again.
    pub fn start(&mut self) -> Result<Threads, Error> {
        let _blocked =
            KickBlocked::new().map_err(|errno| Error::Resources("signal masks", errno.into()))?;
        self.trace();
        let mut handles = Vec::new();
        for vcpu in self.vcpus.drain(..) {
            let shared = self.shared.clone();
            let name = format!("vcpu{}", vcpu.id());
            let started = thread::Builder::new().name(name).stack_size(STACK).spawn(move || {
                let _guard = EndGuard { shared: &shared, vcpu: vcpu.id() };
                vcpu.run(&shared)
            });
            match started {
                Ok(handle) => handles.push(handle),
                Err(error) => {
                    Threads::new(self.shared.control.clone(), handles).stop();
                    return Err(Error::Resources("threads", error));
                }
            }
        }
        Ok(Threads::new(self.shared.control.clone(), handles))
    }

    /// Has what happens recorded, if anybody wants to know.
    fn trace(&mut self) {
        let Some(tracer) = self.shared.recorder.tracer() else { return };
        tracer.devices(&self.shared.bus.map());
        let has_registers = self.vm.check_extension(Cap::SyncRegs);
        for vcpu in &mut self.vcpus {
            vcpu.trace(tracer, has_registers);
        }
        for (slot, transport) in (0..).zip(&self.virtio.0) {
            transport.trace(tracer, slot);
        }
    }

    /// Stops the devices, once the vCPUs have stopped: what the host has in hand is waited for.
    pub fn stop_devices(&self) {
        self.virtio.stop();
    }

    /// How its vCPUs are controlled.
    pub fn control(&self) -> &Arc<Control> {
        &self.shared.control
    }

    /// Where the end is declared.
    pub fn end(&self) -> &EndSlot {
        &self.shared.end
    }

    /// The same, for another thread to declare an end.
    pub fn end_handle(&self) -> Arc<EndSlot> {
        self.shared.end.clone()
    }

    /// What becomes readable when the machine cannot go on for another reason than a vCPU's, and the
    /// reason.
    pub(super) fn failures(&self) -> impl Iterator<Item = (&EventFd, fn() -> Failure)> {
        let panicked = self.virtio.0.iter().map(|transport| transport.interrupt().abandoned());
        let panicked = panicked.map(|fd| (fd, (|| Failure::DevicePanicked) as fn() -> Failure));
        let lost = (self.lost_memory.announced(), (|| Failure::DeviceMemory) as fn() -> Failure);
        panicked.chain([lost])
    }

    /// The guest's memory.
    pub(super) fn memory(&self) -> &GuestMemoryMmap {
        &self.shared.memory
    }

    /// How many accesses found neither memory nor a device.
    pub fn unclaimed(&self) -> u64 {
        self.shared.bus.unclaimed()
    }
}

/// Says on every way out of a vCPU thread that it has ended; on a panic, that the machine has.
struct EndGuard<'a> {
    shared: &'a Shared,
    vcpu: u8,
}

impl Drop for EndGuard<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.shared.end.declare(End::Failed(Failure::Panicked(self.vcpu)));
        }
        self.shared.control.ended();
    }
}

/// A VM with its memory and, before any vCPU gets its local APIC by them, (5) its interrupt controllers
/// and PIT.
fn create_vm(
    kvm: &kvm_ioctls::Kvm,
    memory: &GuestMemoryMmap,
    recorder: &Recorder,
) -> Result<VmFd, Error> {
    let vm = kvm::create_vm(kvm)?;
    recorder.reached(Phase::VmCreated);
    memory::register(&vm, memory)?;
    irq::create_controllers(&vm)?;
    Ok(vm)
}

/// Kernel, initrd and boot data into memory.
fn fill_memory(
    memory: &GuestMemoryMmap,
    plan: &Plan,
    cpus: u8,
    serial: bool,
    virtio: &[VirtioSlot],
    recorder: &Recorder,
) -> Result<Loaded, Error> {
    // (3) Kernel and initrd into it.
    let loaded = load::load(memory, plan)?;

    // (4) Boot data: command line, zero page or PVH start info, ACPI, MP table.
    write_boot_data(memory, plan, cpus, serial, virtio)?;
    recorder.reached(Phase::Loaded);
    Ok(loaded)
}

fn write_boot_data(
    memory: &GuestMemoryMmap,
    plan: &Plan,
    cpus: u8,
    serial: bool,
    virtio: &[VirtioSlot],
) -> Result<(), GuestMemoryError> {
    let cmdline = plan.cmdline.as_bytes_with_nul();
    memory.write_slice(cmdline, GuestAddress(layout::CMDLINE.start))?;
    match plan.entry {
        Entry::Pvh(_) => pvh::write(memory, plan)?,
        Entry::Linux64(_) => zero_page::write(memory, plan)?,
        Entry::Real(_) => {}
    }
    acpi::write(memory, cpus, serial, virtio)?;
    mp_table::write(memory, cpus, virtio)?;
    registers::write_tables(memory, plan.entry)
}

fn insert_devices(bus: &mut Bus, recorder: &Arc<Recorder>) {
    bus.insert(layout::I8042, I8042::default());
    bus.insert(layout::RTC, Rtc::host_time());
    bus.insert(layout::PVPANIC, Pvpanic);
    bus.insert(layout::BOOT_MARK, BootMark(recorder.clone()));
    bus.insert(layout::PM1_EVENT, Pm1Event::default());
    bus.insert(layout::PM1_CONTROL, Pm1Control::default());
    bus.insert(layout::ACPI_RESET, ResetRegister);
    bus.insert(layout::PCI_CONFIG, PciConfig);
}

fn insert_serial(
    bus: &mut Bus,
    vm: &VmFd,
    output: GuestOutput,
    recorder: &Arc<Recorder>,
) -> Result<SerialLine, Error> {
    let descriptors = |error| Error::Resources("file descriptors", error);
    let room = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC).map_err(descriptors)?;
    let lane = recorder.tracer().and_then(|tracer| {
        let device = "serial".to_owned();
        tracer.lane(Source::Line { device, gsi: layout::COM1_GSI }).writer()
    });
    let interrupt = Line::connect(vm, layout::COM1_GSI)?.trace(lane);
    let announce = room.try_clone().map_err(descriptors)?;
    let port = SerialPort::new(interrupt, announce, output, recorder.clone());
    let port = Arc::new(Mutex::new(port));
    bus.insert_shared(layout::COM1, port.clone());
    Ok(SerialLine { port, room })
}

/// The virtio devices, which stop working when this is dropped.
struct Transports(Vec<Arc<Transport>>);

impl Transports {
    fn stop(&self) {
        for transport in &self.0 {
            transport.stop();
        }
    }
}

impl Drop for Transports {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Puts each device into its slot: on the bus, its interrupt on its GSI, and the bell of each queue
/// on QueueNotify, so that a kick is dealt with in the host's kernel.
fn insert_virtio(
    bus: &mut Bus,
    vm: &VmFd,
    memory: &GuestMemoryMmap,
    devices: Vec<Box<dyn VirtioDevice>>,
    slots: &[VirtioSlot],
) -> Result<Transports, Error> {
    let mut transports = Vec::new();
    for (device, slot) in devices.into_iter().zip(slots) {
        let transport = Transport::new(device, memory.clone())
            .map_err(|error| Error::Resources("file descriptors", error))?;
        vm.register_irqfd(transport.interrupt().line(), slot.gsi)
            .map_err(|error| kvm::Error::Call("connect an interrupt line", error))?;
        let bell = IoEventAddress::Mmio(slot.gpa.start + QUEUE_NOTIFY);
        for (index, kick) in (0_u32..).zip(transport.kicks()) {
            vm.register_ioevent(kick, &bell, index)
                .map_err(|error| kvm::Error::Call("connect a queue's bell", error))?;
        }
        let transport = Arc::new(transport);
        bus.insert_mapped(slot.gpa, transport.clone());
        transports.push(transport);
    }
    Ok(Transports(transports))
}

fn create_vcpus(
    kvm: &kvm_ioctls::Kvm,
    vm: &VmFd,
    cpus: u8,
    entry: Entry,
) -> Result<Vec<Vcpu>, kvm::Error> {
    let bootstrap = Vcpu::create(vm, 0)?;
    // The frequency is the same for all, and known once there is a vCPU.
    let cpuid = Cpuid::new(kvm, cpus, bootstrap.tsc_khz())?;
    let mut vcpus = vec![bootstrap];
    for id in 1..cpus {
        vcpus.push(Vcpu::create(vm, id)?);
    }
    for vcpu in &vcpus {
        vcpu.configure(&cpuid)?;
    }
    if let Some(bootstrap) = vcpus.first() {
        bootstrap.set_entry(entry)?;
    }
    Ok(vcpus)
}
