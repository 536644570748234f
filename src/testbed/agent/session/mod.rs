//! One session: a client's command, its surroundings, and its streams.
//!
//! The process that runs this is PID 1 of the session's PID namespace, so that it can be the
//! [guest's side](crate::session::guest) of one.

mod memory_root;
mod root;
mod stopwatch;
mod surroundings;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signalfd::SignalFd;

use self::stopwatch::Stopwatch;
use crate::failure::{Failure, Step};
use crate::session::guest::{Command, Observer, Port, Relay, Unobserved, child_signals};
use crate::session::poll::Poll;
use crate::session::protocol::{Ending, NotStarted, ToHost};
use crate::session::wire;
use crate::testbed::model::Clock;
use crate::testbed::protocol::{Greeting, Mount, Start, ToClient};

/// The port arrives as this descriptor.
const PORT: i32 = 3;

/// Where the port moves: out of the way of descriptors that the command is to find under their
/// numbers.
const PORT_ABOVE: i32 = 512;

/// Serves one client, who is connected to the port on descriptor 3.
pub fn main() -> ExitCode {
    match take_port().and_then(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("duplex: a session failed: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn take_port() -> Result<File, Failure> {
    // SAFETY: the descriptor is only borrowed, for the duplication below, and if it is not open,
    // that fails with EBADF.
    let inherited = unsafe { std::os::fd::BorrowedFd::borrow_raw(PORT) };
    let moved = fcntl(inherited, FcntlArg::F_DUPFD_CLOEXEC(PORT_ABOVE))
        .step("take the port; `testbed session` is started by the testbed's agent only")?;
    // SAFETY: PID 1 passed this descriptor for us to own, and nothing else here knows of it; the
    // copy was made just now.
    let (_inherited, moved) = unsafe { (OwnedFd::from_raw_fd(PORT), OwnedFd::from_raw_fd(moved)) };
    Ok(moved.into())
}

fn serve(mut port: File) -> Result<(), Failure> {
    let children = child_signals().step("get ready for a child")?;
    greet(&mut port).step("greet the client")?;
    let (port, start) = Port::accept::<Start>(port).step("read what to start")?;
    match start.clock {
        Clock::Wall => run(port, &start, children, Unobserved, |_| None),
        Clock::Instructions => {
            let counted = |watch: Stopwatch| Some(ToClient::Counted(watch.counts()));
            run(port, &start, children, Stopwatch::default(), counted)
        }
    }
}

fn run<O: Observer>(
    mut port: Port,
    start: &Start,
    children: SignalFd,
    mut observer: O,
    observed: impl FnOnce(O) -> Option<ToClient>,
) -> Result<(), Failure> {
    let command = match prepare(start, &mut observer) {
        Ok(command) => command,
        Err((kind, reason)) => {
            let refusal = ToHost::<ToClient>::NotStarted { reason, kind };
            port.send(&refusal).step("tell the client")?;
            return port.linger().step("tell the client");
        }
    };
    let mut relay = Relay::new(port, command, children, observer);
    let status = relay.run().step("pass data to and fro")?;
    // Whatever the command left running ends here, before its files are declared complete.
    relay.end_others().step("end the command's children")?;
    let (mut port, observer) = relay.into_parts();
    finish(&mut port, start, observed(observer), status)?;
    port.linger().step("tell the client")
}

/// Sees to what was written, and tells the client how it ended.
fn finish(
    port: &mut Port,
    start: &Start,
    observed: Option<ToClient>,
    status: Ending,
) -> Result<(), Failure> {
    let written = if start.from_image {
        send_back(&start.mounts, port).step("send the written files back")
    } else {
        surroundings::sync(&start.mounts)
    };
    let tell = || -> io::Result<()> {
        if let Some(observed) = observed {
            port.send(&ToHost::Own(observed))?;
        }
        port.send(&match written {
            Ok(()) => ToHost::<ToClient>::Ended(status),
            Err(failure) => ToHost::NotStarted {
                reason: format!("the command ran, but its files may be incomplete: {failure}"),
                kind: NotStarted::Surroundings,
            },
        })
    };
    tell().step("tell the client")
}

/// Sends the files that the command may have written to the client.
fn send_back(mounts: &[Mount], port: &mut Port) -> io::Result<()> {
    for mount in mounts.iter().filter(|mount| mount.write) {
        let mut file = File::open(&mount.at)?;
        let number = usize::try_from(mount.export).map_err(io::Error::other)?;
        port.send(&ToHost::Own(ToClient::Written(number)))?;
        let mut buffer = vec![0; wire::DATA_LIMIT];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                count => port.send_own(&buffer[..count])?,
            }
        }
    }
    Ok(())
}

/// Everything up to the running command.
fn prepare(start: &Start, observer: &mut impl Observer) -> Result<Command, (NotStarted, String)> {
    let broken = |failure: Failure| (NotStarted::Surroundings, failure.to_string());
    root::enter().map_err(broken)?;
    surroundings::prepare(start).map_err(broken)?;
    if start.clock == Clock::Instructions {
        memory_root::enter(start).map_err(broken)?;
    }
    std::env::set_current_dir(&start.invocation.cwd).map_err(|error| {
        let cwd = start.invocation.cwd.display();
        let reason = format!(
            "the working directory {cwd} can't be entered in the testbed: {error}; \
             run the command from another, or name this one with --input"
        );
        (NotStarted::Surroundings, reason)
    })?;
    if start.clock == Clock::Instructions {
        stopwatch::let_the_machine_settle();
    }
    Command::start(&start.invocation, None, None, observer)
}

/// Skips to the client's greeting and returns it to the client.
fn greet(port: &mut File) -> io::Result<()> {
    let mut seen = Vec::new();
    loop {
        let mut byte = [0];
        read_some(port, &mut byte)?;
        seen.push(byte[0]);
        let start = seen.len().saturating_sub(Greeting::LENGTH);
        seen.drain(..start);
        if seen.len() == Greeting::LENGTH && seen.starts_with(&Greeting::MAGIC) {
            break;
        }
    }
    // Shorter than any buffer on the way, so that it goes out whole.
    port.write_all(&seen)
}

/// Waits for data and reads it; the end is an error.
fn read_some(port: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match port.read(buffer) {
            Ok(0) => return Err(Errno::EPIPE.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut poll = Poll::new();
                poll.add_fd((), port.as_fd(), true, false);
                poll.wait(None)?;
            }
            other => return other,
        }
    }
}
