//! The host's end of vsock: where connections come from and lead to.
//!
//! A program on the host connects to the Unix socket PATH and writes "CONNECT <port>\n"; once the
//! guest's program has accepted it reads "OK <its own port>\n", and all else is the stream's. A
//! guest's connection to port P of the host leads to the Unix socket PATH_P. And duplex itself hands
//! over sockets that are connected already, without any path.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::listener::{Listener, connect_without_waiting};

/// The host's end. Shared by the device, whose work begins anew at each reset, and by whoever hands
/// sockets over.
pub struct Front {
    listener: Option<Listener>,
    handed: Mutex<Handed>,
    bell: EventFd,
}

/// Sockets that were handed over and not used yet.
#[derive(Default)]
struct Handed {
    /// For the guest's connections to these ports of the host, in order.
    offers: HashMap<u32, VecDeque<UnixStream>>,
    /// To be connected to these ports of the guest.
    calls: VecDeque<(u32, UnixStream)>,
}

impl Front {
    /// A front with a listening socket, or with handed-over sockets only.
    ///
    /// # Errors
    /// No file descriptor left.
    pub fn new(listener: Option<Listener>) -> io::Result<Front> {
        let bell = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?;
        Ok(Front { listener, handed: Mutex::default(), bell })
    }

    /// Hands over a socket for the guest's next connection to `port` of the host. Others to the same
    /// port wait in line, and a connection for which there is none goes to the path, or is refused.
    ///
    /// # Errors
    /// The socket cannot be set not to wait.
    pub fn offer(&self, port: u32, stream: UnixStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        self.lock().offers.entry(port).or_default().push_back(stream);
        Ok(())
    }

    /// Hands over a socket to be connected to `port` of the guest. If nobody listens there, or the
    /// guest has no driver, its other end sees the end of the stream.
    ///
    /// # Errors
    /// The socket cannot be set not to wait.
    pub fn call(&self, port: u32, stream: UnixStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        self.lock().calls.push_back((port, stream));
        // Only a wake-up: a full counter is one.
        let _ = self.bell.write(1);
        Ok(())
    }

    /// Readable when there are calls.
    pub(super) fn bell(&self) -> &EventFd {
        &self.bell
    }

    pub(super) fn listener(&self) -> Option<&Listener> {
        self.listener.as_ref()
    }

    /// The next socket that is to be connected to a port of the guest.
    pub(super) fn next_call(&self) -> Option<(u32, UnixStream)> {
        self.lock().calls.pop_front()
    }

    /// The host's end for a guest's connection to `port`.
    pub(super) fn answer(&self, port: u32) -> io::Result<UnixStream> {
        if let Some(stream) = self.lock().offers.get_mut(&port).and_then(VecDeque::pop_front) {
            return Ok(stream);
        }
        let listener = self.listener.as_ref().ok_or(io::ErrorKind::NotFound)?;
        // Not waiting: all other devices would wait too.
        connect_without_waiting(&port_path(listener.path(), port))
    }

    fn lock(&self) -> MutexGuard<'_, Handed> {
        self.handed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a guest's connections to `port` lead.
pub fn port_path(path: &Path, port: u32) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(format!("_{port}"));
    path.into()
}
