//! Runs a guest on this host's KVM.

use std::error::Error;
use std::io::{self, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::nets::published_by;
use super::order::VmOrder;
use super::{nets, volumes};
use crate::cli::{FAILED, interface, say, timing};
use crate::image::Init;
use crate::init::{Message, SESSION_PORT, Start};
use crate::instances::Instance;
use crate::session::host::{CallersStreams, End, Relay, Signals, User};
use crate::session::protocol::Ending;
use crate::trace::boot::{Phase, Recorder};
use crate::vm::background::{Background, KeptOutput};
use crate::vm::boot::kernel::Kernel;
use crate::vm::boot::plan::Plan;
use crate::vm::devices::virtio::VirtioDevice;
use crate::vm::devices::virtio::block::Block;
use crate::vm::devices::virtio::block::backing::Backing;
use crate::vm::devices::virtio::event_thread::EventThread;
use crate::vm::devices::virtio::net::passt::UserNetwork;
use crate::vm::devices::virtio::vsock::Vsock;
use crate::vm::devices::virtio::vsock::front::Front;
use crate::vm::devices::virtio::vsock::listener::Listener;
use crate::vm::end::End as GuestEnd;
use crate::vm::kvm;
use crate::vm::machine::Machine;
use crate::vm::session::Outcome;
use crate::workload::{Cmdline, Disk, Net};

/// The guest's vsock address. Each guest has a device of its own, so that all can have the same.
const CID: u32 = 3;

/// How much can be on its way into the guest, in pages: the guest provides them all before it says a
/// word, for 18 thousand instructions each.
const RECEIVE_BUFFERS: u16 = 64;

/// Runs the guest until its command ends; returns the exit status.
pub(super) fn run(order: &VmOrder, recorder: Recorder) -> Result<ExitCode, Box<dyn Error>> {
    let recorder = Arc::new(recorder);
    let instance = Instance::claim(&order.subject.about)?;
    // Before any thread is started: the signals stay blocked in all of them.
    let signals = Signals::take()?;
    let front = Arc::new(Front::new(Some(Listener::bind(&instance.socket())?))?);
    let (ours, theirs) = UnixStream::pair()?;
    front.offer(SESSION_PORT, theirs)?;
    let (_places, nets, network) = nets::connect(order)?;
    let mut devices = devices(order, &nets, &front)?;
    devices.extend(volumes::devices(&order.volumes, &instance)?);
    let plan = plan(order, devices.len())?;
    recorder.reached(Phase::Planned);
    let console = KeptOutput::new()?;
    let output = Some(console.output());
    let device = Path::new(kvm::DEVICE);
    let machine = Machine::build(device, &plan, order.cpus, devices, output, recorder.clone())?;
    let machine = Background::start(machine, recorder.clone())?;
    let mut guest = Guest { machine: &machine, recorder: &recorder, order, killed: 0 };
    let mut streams = CallersStreams::take_for(order.subject.input, order.subject.terminal)?;
    if order.subject.detached {
        streams.discard();
    }
    let mut start = order.subject.start.clone();
    start.invocation.streams = streams.kinds();
    start.invocation.window = streams.window();
    if let Some(setting) = &mut start.setting {
        setting.network = network;
    }
    let end = Relay::new(OwnedFd::from(ours).into(), streams, &mut guest).run(
        start,
        order.subject.terminal && order.subject.input,
        signals,
    );
    let killed = guest.killed;
    let outcome = machine.stop()?;
    let status = conclude(end?, killed, &outcome, console);
    drop(instance);
    if order.timing {
        timing::print(&recorder, &outcome, order.unit, order.json)?;
    }
    Ok(status.into())
}

fn plan(order: &VmOrder, devices: usize) -> Result<Plan, Box<dyn Error>> {
    let named = |error| format!("kernel {}: {error}", order.kernel.display());
    let kernel = Kernel::open(&order.kernel).map_err(|error| named(error.to_string()))?;
    // A reset ends the guest, at once by a triple fault.
    let common = "console=ttyS0 quiet panic=-1 reboot=t";
    let (root, initramfs) = match &order.init {
        Init::Initramfs(path) => (String::new(), Some(path.as_path())),
        Init::Disk(_) => {
            let disk = if order.layer.is_some() { "vdc" } else { "vdb" };
            (format!(" root=/dev/{disk} rootfstype=ext4 ro init=/init"), None)
        }
    };
    let cmdline: Cmdline = format!("{common}{root} -- guest-init").parse()?;
    Ok(Plan::new(kernel, initramfs, cmdline, order.memory, devices)?)
}

/// The image's disk, the layer's if there is one, that of init if it is on one; the networks; and the way
/// to init.
fn devices(
    order: &VmOrder,
    nets: &[Net],
    front: &Arc<Front>,
) -> Result<Vec<Box<dyn VirtioDevice>>, Box<dyn Error>> {
    let mut devices: Vec<Box<dyn VirtioDevice>> = Vec::new();
    let image = Disk { read_only: true, ..Disk::new(&order.disk) };
    let layer = order.layer.as_ref().map(Disk::new);
    let init = match &order.init {
        Init::Disk(path) => Some(Disk { read_only: true, ..Disk::new(path) }),
        Init::Initramfs(_) => None,
    };
    for (number, disk) in [Some(image), layer, init].into_iter().flatten().enumerate() {
        let backing = Backing::open(&disk.path, disk.read_only)?;
        devices.push(Box::new(Block::new(&disk, number, backing)?));
    }
    for (number, net) in nets.iter().enumerate() {
        let user = UserNetwork::of(number);
        let published = published_by(order, number);
        devices.push(Box::new(interface::build(net, number, Some(&user), published)?));
    }
    let thread = Arc::new(EventThread::start("devices")?);
    let vsock = Vsock::new(CID, front.clone(), thread).receive_buffers(RECEIVE_BUFFERS);
    devices.push(Box::new(vsock));
    Ok(devices)
}

/// The guest that a session is in.
struct Guest<'a> {
    machine: &'a Background,
    recorder: &'a Recorder,
    order: &'a VmOrder,
    /// How many processes its kernel killed for want of memory.
    killed: u64,
}

impl User for Guest<'_> {
    type Start = Start;
    type Message = Message;

    fn end_of_machine(&self) -> Option<BorrowedFd<'_>> {
        Some(self.machine.ended())
    }

    fn started(&mut self) {
        self.recorder.reached(Phase::CommandStarted);
        if self.order.subject.detached {
            // Whoever waits for it has a pipe there.
            let _ = writeln!(io::stdout(), "started");
        }
    }

    fn wrote(&mut self) {
        self.recorder.reached(Phase::FirstOutput);
    }

    fn message(&mut self, Message::OutOfMemory { killed }: Message) -> io::Result<()> {
        self.killed = killed;
        Ok(())
    }

    fn data(&mut self, _data: &[u8]) -> io::Result<()> {
        Err(io::Error::other("the guest sent data that belong to nothing"))
    }
}

/// Says what must be said about an end; returns the exit status.
fn conclude(end: End, killed: u64, outcome: &Outcome, console: KeptOutput) -> u8 {
    match end {
        End::Ended(ending) => {
            if killed > 0 {
                say(format_args!(
                    "the guest ran out of memory, and its kernel killed {}: give it more with --memory",
                    if killed == 1 {
                        "a process".to_owned()
                    } else {
                        format!("{killed} processes")
                    }
                ));
            }
            ending.exit_status()
        }
        End::NotStarted { reason, kind } => {
            say(reason);
            kind.exit_status()
        }
        End::Interrupted(number) => Ending::Killed(number).exit_status(),
        End::Lost => {
            let how = match &outcome.end {
                // That is how a guest's kernel gives up.
                GuestEnd::Reset | GuestEnd::TripleFault(_) => "its kernel could not go on".into(),
                other => other.to_string(),
            };
            let lines = console.last_lines();
            let separator = if lines.is_empty() { "" } else { ". Its last words:\n" };
            say(format_args!("the guest ended before its command: {how}{separator}{lines}"));
            FAILED
        }
    }
}
