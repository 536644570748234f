//! Runs a guest on this host's KVM.

use std::error::Error;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::attend::{Conclusion, attend};
use super::order::VmOrder;
use super::volumes;
use crate::cli::{interface, timing};
use crate::image::Init;
use crate::init::SESSION_PORT;
use crate::instances::Instance;
use crate::session::host::Signals;
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
use crate::workload::{Cmdline, Disk};

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
    let mut devices = devices(order, &front)?;
    devices.extend(volumes::devices(&order.volumes, &instance)?);
    let plan = plan(order, devices.len())?;
    recorder.reached(Phase::Planned);
    let console = KeptOutput::new()?;
    let output = Some(console.output());
    let device = Path::new(kvm::DEVICE);
    let machine = Machine::build(device, &plan, order.cpus, devices, output, recorder.clone())?;
    let machine = Background::start(machine, recorder.clone())?;
    let subject = &order.subject;
    let attended =
        attend(subject, &instance, ours, machine.ended(), signals, Some(recorder.as_ref()));
    let outcome = machine.stop()?;
    let attended = attended?;
    let starved = (attended.killed > 0).then(|| starved(attended.killed));
    let lost = || lost(&outcome, console);
    let status = Conclusion::new(attended.end, starved, lost).tell(instance, None)?;
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
    for (number, net) in order.nets.iter().enumerate() {
        let user = UserNetwork::of(number);
        devices.push(Box::new(interface::build(net, number, Some(&user))?));
    }
    let thread = Arc::new(EventThread::start("devices")?);
    let vsock = Vsock::new(CID, front.clone(), thread).receive_buffers(RECEIVE_BUFFERS);
    devices.push(Box::new(vsock));
    Ok(devices)
}

fn starved(killed: u64) -> String {
    let what = if killed == 1 { "a process".to_owned() } else { format!("{killed} processes") };
    format!("the guest ran out of memory, and its kernel killed {what}: give it more with --memory")
}

fn lost(outcome: &Outcome, console: KeptOutput) -> String {
    let how = match &outcome.end {
        // That is how a guest's kernel gives up.
        GuestEnd::Reset | GuestEnd::TripleFault(_) => "its kernel could not go on".into(),
        other => other.to_string(),
    };
    let lines = console.last_lines();
    let separator = if lines.is_empty() { "" } else { ". Its last words:\n" };
    format!("the guest ended before its command: {how}{separator}{lines}")
}
