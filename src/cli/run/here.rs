//! Runs a guest on this host's KVM.

use std::error::Error;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;

use super::attend::{Conclusion, Lost, attend};
use super::order::VmOrder;
use super::vmm::{Fate, Vmm};
use super::{limits, network};
use crate::cli::tracing::{TraceOrder, Tracing};
use crate::cli::{FAILED, timing};
use crate::instances::Instance;
use crate::isolate::cgroups::Group;
use crate::session::host::Signals;
use crate::session::protocol::Ending;
use crate::trace::boot::Recorder;
use crate::trace::file::about::{About, Half};
use crate::vm::devices::virtio::vsock::front::Front;
use crate::vm::devices::virtio::vsock::listener::Listener;

/// Runs the guest until its command ends; returns the exit status.
pub(super) fn run(order: &VmOrder, recorder: Recorder) -> Result<ExitCode, Box<dyn Error>> {
    let recorder = Arc::new(recorder);
    let instance = Instance::claim(&order.subject.about)?;
    // Before there is any other thread or process: the signals stay blocked in all of them.
    let signals = Signals::take()?;
    let front = Arc::new(Front::new(Some(Listener::bind(&instance.socket())?))?);
    let (ours, theirs) = UnixStream::pair()?;
    let (_places, nets, network) = network::vm::connect(order)?;
    let subject = &order.subject;
    let mut start = subject.start.clone();
    if let Some(setting) = &mut start.setting {
        setting.network = network;
    }
    let group =
        limits::group_of_vm(&instance, &subject.about.name, &order.limits, &order.cgroup_parent)?;
    let tracing = order.trace.as_ref().map(|to| trace(to, order, &recorder)).transpose()?;
    let traced = tracing.as_ref();
    let vmm = Vmm::start(order, &nets, &instance, &group, (&recorder, traced), &front, theirs)?;
    let ended = vmm.as_fd();
    let recorded = Some(recorder.as_ref());
    let attended = attend(subject, start, &instance, ours, (ended, &group), signals, recorded);
    let fate = vmm.end()?;
    if let Fate::Failed(reason) = fate {
        return Err(reason.into());
    }
    let attended = attended?;
    let starved = (attended.killed > 0).then(|| starved(attended.killed));
    let conclusion = Conclusion::new(attended.end, starved, || lost(&fate, &group));
    let usage = subject.about.remains.then(|| group.usage());
    drop(group);
    let status = conclusion.tell(instance, usage)?;
    if let Fate::Told(told) = &fate {
        recorder.add(told.stamps);
    }
    if let Some(tracing) = tracing {
        tracing.conclude(&recorder, matches!(fate, Fate::Told(_)));
    }
    if let (true, Fate::Told(told)) = (order.timing, fate) {
        timing::print(&recorder, &told.figures, order.unit, order.json)?;
    }
    Ok(status.into())
}

/// Begins a trace.
fn trace(to: &TraceOrder, order: &VmOrder, recorder: &Recorder) -> Result<Tracing, Box<dyn Error>> {
    let about = About {
        command: order.subject.command_line(),
        kernel: Some(order.kernel.to_string_lossy().into_owned()),
        ..About::default()
    };
    Tracing::begin(to, Half::Vm, order.unit, recorder, about)
}

fn starved(killed: u64) -> String {
    let what = if killed == 1 { "a process".to_owned() } else { format!("{killed} processes") };
    format!("the guest ran out of memory, and its kernel killed {what}: give it more with --memory")
}

/// The guest is gone, and its command has not ended.
fn lost(fate: &Fate, group: &Group) -> Lost {
    let ended = "the guest ended before its command";
    match fate {
        Fate::Told(told) => {
            let separator = if told.last_words.is_empty() { "" } else { ". Its last words:\n" };
            let (how, lines) = (&told.how, &told.last_words);
            Lost { status: FAILED, said: format!("{ended}: {how}{separator}{lines}") }
        }
        Fate::Killed(WaitStatus::Signaled(_, Signal::SIGKILL, _))
            if group.oom_kills().is_some_and(|kills| kills > 0) =>
        {
            let said = "the VM itself ran out of the memory that it may use of this host, whose kernel \
                        killed it: give it more with --memory";
            Lost {
                status: Ending::Killed(Signal::SIGKILL as i32).exit_status(),
                said: said.to_owned(),
            }
        }
        Fate::Killed(WaitStatus::Signaled(_, signal, _)) => Lost {
            status: Ending::Killed(*signal as i32).exit_status(),
            said: format!("{ended}: its VMM was killed by {signal}"),
        },
        Fate::Killed(_) | Fate::Failed(_) => Lost {
            status: FAILED,
            said: format!("{ended}: its VMM panicked: this is a bug in duplex"),
        },
    }
}
