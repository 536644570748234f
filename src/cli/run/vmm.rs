//! The VMM: a process of its own, in the guest's control group. Whoever serves the session, and tells
//! how it all ended, stays outside of that group: what limits, stops or kills the guest does not reach it.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use nix::unistd::{dup2_stdin, dup2_stdout};
use serde::{Deserialize, Serialize};

use super::network::vm::published_by;
use super::order::VmOrder;
use super::volumes;
use crate::cli::interface;
use crate::cli::tracing::Tracing;
use crate::image::Init;
use crate::init::SESSION_PORT;
use crate::instances::Instance;
use crate::isolate::cgroups::Group;
use crate::isolate::{Namespaces, Process, fork_whole, hardening};
use crate::session::poll::Poll;
use crate::trace::boot::{Phase, Recorder, Stamps};
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
use crate::vm::end::End;
use crate::vm::kvm;
use crate::vm::machine::Machine;
use crate::vm::session::Figures;
use crate::workload::{Cmdline, Disk, Net};

/// The guest's vsock address. Each guest has a device of its own, so that all can have the same.
const CID: u32 = 3;

/// How much can be on its way into the guest, in pages: the guest provides them all before it says a
/// word, for 18 thousand instructions each.
const RECEIVE_BUFFERS: u16 = 64;

/// A bound on what the VMM says at its end, in bytes: a guest may have had it in its hands.
const LONGEST_REPORT: u64 = 1 << 20;

/// The process of a VMM.
pub(super) struct Vmm {
    process: Process,
    /// What it says at its end comes from here; that this end is closed for writing ends it.
    line: UnixStream,
}

/// What is left of a VMM.
pub(super) enum Fate {
    /// What it has to tell.
    Told(Box<Told>),
    /// Why there was no machine.
    Failed(String),
    /// It ended without a word.
    Killed(WaitStatus),
}

/// What a VMM tells when its machine has ended.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Told {
    /// How the machine ended.
    pub(super) how: String,
    /// The last lines on its console.
    pub(super) last_words: String,
    /// When it reached which phase.
    pub(super) stamps: Stamps,
    /// What was counted.
    pub(super) figures: Figures,
}

impl Vmm {
    /// Starts it in `group`, with these networks, and times and events recorded. The session in the guest is at the other end of
    /// `session`; further ones are asked for at `front`. To be called while this process has a single
    /// thread, with all signals blocked that are not meant for the VMM's.
    ///
    /// # Errors
    /// The group's, or the kernel refuses another process.
    pub(super) fn start(
        order: &VmOrder,
        nets: &[Net],
        instance: &Instance,
        group: &Group,
        (recorder, tracing): (&Arc<Recorder>, Option<&Tracing>),
        front: &Arc<Front>,
        session: UnixStream,
    ) -> Result<Vmm, Box<dyn Error>> {
        let (line, theirs) = UnixStream::pair()?;
        let entrances = group.entrances()?;
        let unified = group.descriptor()?;
        let live = move || {
            let told = enter(entrances, order.oom_score)
                .map_err(Into::into)
                .and_then(|()| Ok(tracing.map_or(Ok(()), |tracing| tracing.record(recorder))?))
                .and_then(|()| serve(order, nets, instance, recorder, front, session, &theirs))
                .map_err(|error| error.to_string());
            // Where nobody listens any more, nobody asks.
            let told = serde_json::to_vec(&told).unwrap_or_default();
            let _ = (&theirs).write_all(&told);
            0
        };
        // SAFETY: the caller sees to it that there is one thread.
        let process = unsafe { fork_whole(Namespaces::NONE, unified.as_ref(), live) }?;
        Ok(Vmm { process, line })
    }

    /// Ends it, if it has not ended.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn end(&self) -> io::Result<Fate> {
        // Where it is gone there is nothing to be said.
        let _ = self.line.shutdown(Shutdown::Write);
        let mut told = Vec::new();
        (&self.line).take(LONGEST_REPORT).read_to_end(&mut told)?;
        let status = self.process.wait()?;
        let told: Option<Result<Told, String>> = serde_json::from_slice(&told).ok();
        Ok(match told {
            Some(Ok(told)) => Fate::Told(Box::new(told)),
            Some(Err(reason)) => Fate::Failed(reason),
            None => Fate::Killed(status),
        })
    }
}

impl Drop for Vmm {
    fn drop(&mut self) {
        // To no effect where it has been waited for.
        let _ = self.process.kill();
    }
}

impl AsFd for Vmm {
    /// Readable once it has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }
}

/// What the new process does first: it ends with whoever started it, is where it is limited, and leaves
/// the caller's streams to those who serve them.
fn enter(entrances: Vec<OwnedFd>, oom_score: Option<i16>) -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // By itself: it takes the kernel milliseconds to move another.
    for entrance in entrances {
        File::from(entrance).write_all(b"0")?;
    }
    oom_score.map_or(Ok(()), hardening::raise_oom_score)?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    Ok(dup2_stdout(&null)?)
}

/// Runs the guest until it ends, or `line` does.
fn serve(
    order: &VmOrder,
    nets: &[Net],
    instance: &Instance,
    recorder: &Arc<Recorder>,
    front: &Arc<Front>,
    session: UnixStream,
    line: &UnixStream,
) -> Result<Told, Box<dyn Error>> {
    front.offer(SESSION_PORT, session)?;
    let mut devices = devices(order, nets, front)?;
    devices.extend(volumes::devices(&order.volumes, instance)?);
    let plan = plan(order, devices.len())?;
    recorder.reached(Phase::Planned);
    let console = KeptOutput::new()?;
    let output = Some(console.output());
    let device = Path::new(kvm::DEVICE);
    let machine = Machine::build(device, &plan, order.cpus, devices, output, recorder.clone())?;
    let machine = Background::start(machine, recorder.clone())?;
    let ended = machine.ended();
    let mut poll = Poll::new();
    poll.add_fd((), ended, true, false);
    poll.add((), line, true, false);
    poll.wait(None)?;
    let outcome = machine.stop()?;
    if let Some(tracer) = recorder.tracer()
        && let Err(error) = tracer.stop()
    {
        log::warn!("the trace is not whole: {error}");
    }
    let how = match &outcome.end {
        // That is how a guest's kernel gives up.
        End::Reset | End::TripleFault(_) => "its kernel could not go on".into(),
        other => other.to_string(),
    };
    let (stamps, figures) = (recorder.stamps(), outcome.figures);
    Ok(Told { how, last_words: console.last_lines(), stamps, figures })
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
