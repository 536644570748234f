//! One session: a client's command, its surroundings, and its streams.
//!
//! The process that runs this is PID 1 of the session's PID namespace and leader of a terminal
//! session, like a shell with one job: the command has a process group of its own below it, so
//! that stopping and continuing work as at home.

mod command;
mod memory_root;
mod port;
mod relay;
mod root;
mod stopwatch;
mod surroundings;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use self::command::Command;
use self::port::Port;
use self::relay::Relay;
use crate::testbed::failure::{Failure, Step};
use crate::testbed::model::Clock;
use crate::testbed::poll::Poll;
use crate::testbed::protocol::{Greeting, Mount, NotStarted, Start, ToAgent, ToClient};
use crate::testbed::wire::{self, Decoder, START_LIMIT};

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
    let children = child_signals()?;
    greet(&mut port).step("greet the client")?;
    let mut decoder = Decoder::new(START_LIMIT);
    let start = read_start(&mut port, &mut decoder).step("read what to start")?;
    let mut port = Port::new(port, decoder);
    let command = match prepare(&start) {
        Ok(command) => command,
        Err((kind, reason)) => {
            port.send(&ToClient::NotStarted { reason, kind }).step("tell the client")?;
            return port.linger().step("tell the client");
        }
    };
    let mut relay = Relay::new(port, command, children, start.clock);
    let (status, counts) = relay.run().step("pass data to and fro")?;
    // Whatever the command left running ends here, before its files are declared complete.
    relay.end_others().step("end the command's children")?;
    let mut port = relay.into_port();
    let written = if start.from_image {
        send_back(&start.mounts, &mut port).step("send the written files back")
    } else {
        surroundings::sync(&start.mounts)
    };
    match written {
        Ok(()) => port.send(&ToClient::Ended { status, counts }),
        Err(failure) => port.send(&ToClient::NotStarted {
            reason: format!("the command ran, but its files may be incomplete: {failure}"),
            kind: NotStarted::Surroundings,
        }),
    }
    .step("tell the client")?;
    port.linger().step("tell the client")
}

/// Sends the files that the command may have written to the client.
fn send_back(mounts: &[Mount], port: &mut Port) -> io::Result<()> {
    for mount in mounts.iter().filter(|mount| mount.write) {
        let mut file = File::open(&mount.at)?;
        let number = usize::try_from(mount.export).map_err(io::Error::other)?;
        port.send(&ToClient::Written(number))?;
        let mut buffer = vec![0; wire::DATA_LIMIT];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                count => port.send_file(&buffer[..count])?,
            }
        }
    }
    Ok(())
}

/// Everything up to the running command.
fn prepare(start: &Start) -> Result<Command, (NotStarted, String)> {
    let broken = |failure: Failure| (NotStarted::Surroundings, failure.to_string());
    root::enter().map_err(broken)?;
    surroundings::prepare(start).map_err(broken)?;
    if start.clock == Clock::Instructions {
        memory_root::enter(start).map_err(broken)?;
    }
    std::env::set_current_dir(&start.cwd).map_err(|error| {
        let cwd = start.cwd.display();
        let reason = format!(
            "the working directory {cwd} can't be entered in the testbed: {error}; \
             run the command from another, or name this one with --input"
        );
        (NotStarted::Surroundings, reason)
    })?;
    if start.clock == Clock::Instructions {
        stopwatch::let_the_machine_settle();
    }
    Command::start(start)
}

fn child_signals() -> Result<SignalFd, Failure> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    // Taking the terminal's foreground from and for the command must not stop this process, and
    // when the terminal goes away, the signal is for the command alone.
    let mut blocked = signals;
    blocked.add(Signal::SIGTTOU);
    blocked.add(Signal::SIGHUP);
    blocked.thread_block().step("block signals")?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .step("make a signalfd")
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

fn read_start(port: &mut File, decoder: &mut Decoder) -> io::Result<Box<Start>> {
    loop {
        if let Some(frame) = decoder.next().map_err(io::Error::other)? {
            return match wire::decode_message(&frame.payload).map_err(io::Error::other)? {
                ToAgent::Start(start) => Ok(start),
                other => Err(io::Error::other(format!("expected a start, not {other:?}"))),
            };
        }
        let mut buffer = [0; 16 << 10];
        let count = read_some(port, &mut buffer)?;
        decoder.feed(&buffer[..count]);
    }
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
