//! Further sessions: commands that join the first one in its guest.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, VsockAddr, accept4, bind, listen, socket,
};

use super::command::start_command;
use super::protocol::{FURTHER_PORT, Message, Start};
use crate::failure::{Failure, Step};
use crate::isolate::{Namespaces, fork};
use crate::session::guest::{
    BeforeExec, Command, Observer, Port, Relay, Unobserved, child_signals, lead_session,
};
use crate::session::protocol::ToHost;

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 16;

/// What the process of a session ends with that could not go on. Nobody asks.
const FAILED: u8 = 125;

/// Where the host connects for further sessions.
pub(crate) struct Door {
    socket: OwnedFd,
    /// The last connection could not be accepted. It waits until something else has happened, for
    /// at once it would fail again.
    is_stuck: bool,
    /// What every command here is behind.
    wall: Option<Arc<dyn BeforeExec>>,
}

impl Door {
    /// At a guest's vsock port.
    pub(super) fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Vsock, SockType::Stream, flags, None)?;
        bind(socket.as_raw_fd(), &VsockAddr::new(libc::VMADDR_CID_ANY, FURTHER_PORT))?;
        listen(&socket, Backlog::new(BACKLOG)?)?;
        Ok(Self { socket, is_stuck: false, wall: None })
    }

    /// At a socket that listens, on which accepting does not wait.
    pub(crate) fn at(socket: OwnedFd) -> Self {
        Self { socket, is_stuck: false, wall: None }
    }

    /// Puts every command from now on behind `wall`.
    pub(super) fn put_behind(&mut self, wall: Arc<dyn BeforeExec>) {
        self.wall = Some(wall);
    }

    /// What every command here is behind.
    pub(super) fn wall(&self) -> Option<Arc<dyn BeforeExec>> {
        self.wall.clone()
    }

    /// Starts a process for each connection that waits. It is reaped like every other child.
    fn admit(&self) -> io::Result<()> {
        loop {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let connection = match accept4(self.socket.as_raw_fd(), flags) {
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR | Errno::ECONNABORTED | Errno::ECONNRESET) => continue,
                other => other?,
            };
            // SAFETY: accept4 has just returned this descriptor, so nobody else owns it.
            let connection = unsafe { OwnedFd::from_raw_fd(connection) };
            // A session that can't be started must not end the others; its connection ends.
            if let Err(error) = start_session(&connection, self.wall()) {
                complain(format_args!("a further session cannot be started: {error}"));
            }
        }
    }
}

impl Observer for Door {
    fn interest(&mut self) -> Option<BorrowedFd<'_>> {
        (!mem::take(&mut self.is_stuck)).then(|| self.socket.as_fd())
    }

    fn ready(&mut self) {
        if let Err(error) = self.admit() {
            complain(format_args!("further sessions cannot be accepted: {error}"));
            self.is_stuck = true;
        }
    }
}

/// On the guest's console, or where duplex says something. Nobody needs to be there: that of a container
/// which was started with --detach has gone.
fn complain(what: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "duplex: {what}");
}

/// Serves a connection in a process of its own. What else init has open, the other sessions' connections
/// above all, is not there.
fn start_session(connection: &OwnedFd, wall: Option<Arc<dyn BeforeExec>>) -> io::Result<()> {
    let session = |mut kept: Vec<OwnedFd>| {
        let Some(connection) = kept.pop() else { return FAILED };
        match run(connection.into(), wall) {
            Ok(()) => 0,
            Err(failure) => {
                complain(format_args!("a further session cannot go on: {failure}"));
                FAILED
            }
        }
    };
    // SAFETY: init has a single thread.
    unsafe { fork(Namespaces::NONE, None, &[connection.as_fd()], session) }.map(drop)
}

fn run(connection: File, wall: Option<Arc<dyn BeforeExec>>) -> Result<(), Failure> {
    let children = child_signals().step("get ready for a child")?;
    let (mut port, start) = Port::accept::<Start>(connection).step("read what to start")?;
    lead_session().step("lead a session")?;
    let command: Command = match start_command(*start, wall) {
        Ok(command) => command,
        Err((kind, reason)) => {
            port.send(&ToHost::<Message>::NotStarted { reason, kind }).step("tell the host")?;
            return port.linger().step("tell the host");
        }
    };
    let mut relay = Relay::new(port, command, children, Unobserved);
    match relay.run() {
        Ok(ending) => {
            let (mut port, _) = relay.into_parts();
            port.send(&ToHost::<Message>::Ended(ending)).step("tell the host")?;
            port.linger().step("tell the host")
        }
        // The caller has gone away: the command goes with it.
        Err(error) => {
            relay.signal(Signal::SIGKILL).step("end the command")?;
            Err(error).step("pass data to and fro")
        }
    }
}
