//! Init's way from the kernel's start of it to the end of the machine.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, VsockAddr, connect, socket};
use nix::unistd::{Pid, setsid, sync};

use super::protocol::{Message, SESSION_PORT, Start};
use super::{memory, names, root, users};
use crate::failure::{Failure, Step};
use crate::isolate;
use crate::session::guest::{Command, Port, Relay, Unobserved, child_signals};
use crate::session::poll::set_nonblocking;
use crate::session::protocol::{Invocation, NotStarted, ToHost};

/// Runs as PID 1, until it ends the machine.
pub fn main() -> ExitCode {
    if nix::unistd::getpid() != Pid::from_raw(1) {
        eprintln!("duplex: `guest-init` is PID 1 of a guest that `duplex run` starts");
        return ExitCode::from(125);
    }
    if let Err(failure) = run() {
        // On the guest's console.
        eprintln!("duplex: the guest's init cannot go on: {failure}");
    }
    match end_the_machine() {
        Err(error) => eprintln!("duplex: the guest cannot be ended: {error}"),
    }
    // PID 1 must not return: the kernel panics, which ends the machine as well.
    ExitCode::FAILURE
}

/// A reset ends a VM at once, whatever the kernel was built with; a power-off needs ACPI.
fn end_the_machine() -> Result<Infallible, Errno> {
    reboot(RebootMode::RB_AUTOBOOT)
}

fn run() -> Result<(), Failure> {
    root::mount_devices()?;
    let children = child_signals().step("get ready for a child")?;
    let host = connect_to_host().step("connect to the host")?;
    let (mut port, start) = Port::accept::<Start>(host).step("read what to start")?;
    // What we start as the kernel's first process is in nobody's session.
    match setsid() {
        Ok(_) | Err(Errno::EPERM) => {}
        Err(error) => return Err(error).step("lead a session"),
    }
    let command = match prepare(*start) {
        Ok(command) => command,
        Err((kind, reason)) => {
            port.send(&ToHost::<Message>::NotStarted { reason, kind }).step("tell the host")?;
            return port.linger().step("tell the host");
        }
    };
    let mut relay = Relay::new(port, command, children, Unobserved);
    let ending = relay.run().step("pass data to and fro")?;
    // Whatever the command left running ends here, before what was written is declared safe.
    relay.end_others().step("end the command's children")?;
    let (mut port, _) = relay.into_parts();
    sync();
    let mut tell = || -> io::Result<()> {
        let killed = memory::killed();
        if killed > 0 {
            port.send(&ToHost::Own(Message::OutOfMemory { killed }))?;
        }
        port.send(&ToHost::<Message>::Ended(ending))
    };
    tell().step("tell the host")?;
    port.linger().step("tell the host")
}

fn connect_to_host() -> io::Result<File> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket: OwnedFd = socket(AddressFamily::Vsock, SockType::Stream, flags, None)?;
    connect(socket.as_raw_fd(), &VsockAddr::new(libc::VMADDR_CID_HOST, SESSION_PORT))?;
    set_nonblocking(&socket)?;
    Ok(socket.into())
}

/// Everything up to the running command.
fn prepare(start: Start) -> Result<Command, (NotStarted, String)> {
    let refused = |reason: String| (NotStarted::Surroundings, reason);
    let broken = |failure: Failure| (NotStarted::Surroundings, format!("in the guest: {failure}"));
    root::enter(start.layer).map_err(broken)?;
    names::set(&start.hostname).map_err(broken)?;
    isolate::bring_loopback_up().map_err(broken)?;
    let user = users::find(start.user.as_deref()).map_err(refused)?;
    let mut invocation = start.invocation;
    if !invocation.env.iter().any(|(name, _)| name == "HOME") {
        invocation.env.push(("HOME".into(), user.home.into()));
    }
    enter_working_directory(&invocation).map_err(refused)?;
    Command::start(&invocation, Some(&user.identity), &mut Unobserved)
}

/// Makes it where it is missing, as docker does.
fn enter_working_directory(invocation: &Invocation) -> Result<(), String> {
    let cwd = &invocation.cwd;
    fs::create_dir_all(cwd).and_then(|()| std::env::set_current_dir(cwd)).map_err(|error| {
        format!("the working directory {} can't be entered: {error}; give another", cwd.display())
    })
}
