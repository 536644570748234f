//! Runs a guest on this host's KVM.

use std::error::Error;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;

use super::limits;
use super::order::VmOrder;
use super::vmm::{Fate, Vmm};
use crate::cli::{FAILED, say, timing};
use crate::init::{Message, Start};
use crate::instances::Instance;
use crate::isolate::cgroups::Group;
use crate::session::host::{CallersStreams, End, Relay, Signals, User};
use crate::session::protocol::Ending;
use crate::trace::boot::{Phase, Recorder};
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
    let group = limits::group_of_vm(&instance, &order.subject.about.name, &order.limits)?;
    let vmm = Vmm::start(order, &instance, &group, &recorder, &front, theirs)?;
    let mut guest = Guest { vmm: &vmm, recorder: &recorder, order, killed: 0 };
    let mut streams = CallersStreams::take_for(order.subject.input, order.subject.terminal)?;
    if order.subject.detached {
        streams.discard();
    }
    let mut start = order.subject.start.clone();
    start.invocation.streams = streams.kinds();
    start.invocation.window = streams.window();
    let end = Relay::new(OwnedFd::from(ours).into(), streams, &mut guest).run(
        start,
        order.subject.terminal && order.subject.input,
        signals,
    );
    let killed = guest.killed;
    let fate = vmm.end()?;
    if let Fate::Failed(reason) = fate {
        return Err(reason.into());
    }
    let status = conclude(end?, killed, &fate, &group);
    if let (true, Fate::Told(told)) = (order.timing, fate) {
        recorder.add(told.stamps);
        timing::print(&recorder, &told.figures, order.unit, order.json)?;
    }
    Ok(status.into())
}

/// The guest that a session is in.
struct Guest<'a> {
    vmm: &'a Vmm,
    recorder: &'a Recorder,
    order: &'a VmOrder,
    /// How many processes its kernel killed for want of memory.
    killed: u64,
}

impl User for Guest<'_> {
    type Start = Start;
    type Message = Message;

    fn end_of_machine(&self) -> Option<BorrowedFd<'_>> {
        Some(self.vmm.as_fd())
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
fn conclude(end: End, killed: u64, fate: &Fate, group: &Group) -> u8 {
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
        End::Lost => lost(fate, group),
    }
}

/// The guest is gone, and its command has not ended.
fn lost(fate: &Fate, group: &Group) -> u8 {
    match fate {
        Fate::Told(told) => {
            let separator = if told.last_words.is_empty() { "" } else { ". Its last words:\n" };
            let (how, lines) = (&told.how, &told.last_words);
            say(format_args!("the guest ended before its command: {how}{separator}{lines}"));
            FAILED
        }
        Fate::Killed(WaitStatus::Signaled(_, Signal::SIGKILL, _))
            if group.oom_kills().is_some_and(|kills| kills > 0) =>
        {
            say(
                "the VM itself ran out of the memory that it may use of this host, whose kernel killed it: \
                 give it more with --memory",
            );
            Ending::Killed(Signal::SIGKILL as i32).exit_status()
        }
        Fate::Killed(WaitStatus::Signaled(_, signal, _)) => {
            say(format_args!("the guest ended before its command: its VMM was killed by {signal}"));
            Ending::Killed(*signal as i32).exit_status()
        }
        Fate::Killed(_) | Fate::Failed(_) => {
            say("the guest ended before its command: its VMM panicked: this is a bug in duplex");
            FAILED
        }
    }
}
