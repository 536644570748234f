//! Runs a command in a container.

use std::error::Error;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::ExitCode;

use super::order::{ContainerOrder, Subject};
use super::{Args, limits};
use crate::cli::testbed_mode::TestbedMode;
use crate::cli::{FAILED, say};
use crate::container::{Container, Plan, Volume, Wanted};
use crate::init::{Message, Start};
use crate::instances::Instance;
use crate::isolate::capabilities::Capabilities;
use crate::session::host::{CallersStreams, End, Relay, Signals, User};
use crate::session::protocol::Ending;
use crate::workload;

/// Decides everything. What a container cannot have is refused.
pub(super) fn decide(args: &Args, subject: Subject) -> Result<ContainerOrder, Box<dyn Error>> {
    refuse(args)?;
    let wanted = Wanted {
        image: subject.image.clone(),
        hostname: subject.about.name.clone(),
        volumes: args.volume.iter().map(volume).collect::<Result<_, _>>()?,
        read_only: args.read_only,
        capabilities: Capabilities::changed(&args.cap_add, &args.cap_drop),
        openings: args.security.openings(),
    };
    Ok(ContainerOrder { subject, plan: Plan::new(&wanted)?, limits: args.limits.read()? })
}

fn refuse(args: &Args) -> Result<(), &'static str> {
    let asked = [
        (
            args.keep.is_some(),
            "--keep: a container's changes cannot be kept: mount a directory with -v",
        ),
        (
            args.timing || args.count_instructions,
            "--timing and --count-instructions: they tell about a VM's start",
        ),
        (!args.nets.is_empty(), "--net: containers have no network yet: leave it away"),
        (args.testbed == TestbedMode::Always, "--testbed: a container needs none: leave it away"),
    ];
    asked.into_iter().find(|(asked, _)| *asked).map_or(Ok(()), |(_, reason)| Err(reason))
}

/// The real path of a directory.
fn directory(path: &Path) -> Result<std::path::PathBuf, String> {
    let real = path.canonicalize().map_err(|error| error.to_string())?;
    if real.is_dir() { Ok(real) } else { Err("it is no directory".into()) }
}

fn volume(wanted: &workload::Volume) -> Result<Volume, String> {
    let workload::Volume { host, guest, read_only } = wanted;
    let host = directory(host).map_err(|reason| {
        format!("-v {}: {reason}; give a directory that is there", host.display())
    })?;
    Ok(Volume { host, at: guest.clone(), read_only: *read_only })
}

/// Runs the container until its command ends; returns the exit status.
pub(super) fn run(order: &ContainerOrder) -> Result<ExitCode, Box<dyn Error>> {
    let instance = Instance::claim(&order.subject.about)?;
    let room = instance.room()?;
    let signals = Signals::take()?;
    let door = UnixListener::bind(instance.socket())?;
    let (ours, theirs) = UnixStream::pair()?;
    let name = &order.subject.about.name;
    let group = limits::group(&instance, name, &order.limits, order.plan.devices())?;
    let container = Container::start(&order.plan, &group, &theirs, &door, &room)?;
    drop((theirs, door));
    let mut streams = CallersStreams::take_for(order.subject.input, order.subject.terminal)?;
    if order.subject.detached {
        streams.discard();
    }
    let mut start = order.subject.start.clone();
    start.invocation.streams = streams.kinds();
    start.invocation.window = streams.window();
    let mut user = Within { container: &container, detached: order.subject.detached };
    let on_terminal = order.subject.terminal && order.subject.input;
    let end = Relay::new(OwnedFd::from(ours).into(), streams, &mut user).run(
        start,
        on_terminal,
        signals,
    )?;
    container.wait()?;
    if group.oom_kills().is_some_and(|kills| kills > 0) {
        say(
            "the container ran out of memory, and the kernel killed in it: give it more with --memory",
        );
    }
    Ok(conclude(end).into())
}

/// The container that a session is in.
struct Within<'a> {
    container: &'a Container,
    detached: bool,
}

impl User for Within<'_> {
    type Start = Start;
    type Message = Message;

    fn end_of_machine(&self) -> Option<BorrowedFd<'_>> {
        Some(self.container.as_fd())
    }

    fn started(&mut self) {
        if self.detached {
            // Whoever waits for it has a pipe there.
            let _ = writeln!(io::stdout(), "started");
        }
    }

    fn message(&mut self, _message: Message) -> io::Result<()> {
        Ok(())
    }

    fn data(&mut self, _data: &[u8]) -> io::Result<()> {
        Err(io::Error::other("the container sent data that belong to nothing"))
    }
}

/// Says what must be said about an end; returns the exit status.
fn conclude(end: End) -> u8 {
    match end {
        End::Ended(ending) => ending.exit_status(),
        End::NotStarted { reason, kind } => {
            say(reason);
            kind.exit_status()
        }
        End::Interrupted(number) => Ending::Killed(number).exit_status(),
        End::Lost => {
            say("the container ended before its command");
            FAILED
        }
    }
}
