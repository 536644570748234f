//! Messages with descriptors over Unix sockets: how clients talk to the keeper.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
    UnixAddr, accept4, bind, connect, getsockopt, listen, recvmsg, sendmsg, setsockopt, socket,
    sockopt,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most descriptors in one message, and so the most files that a command can name.
pub(super) const MAX_DESCRIPTORS: usize = 64;

/// The longest message: that many paths of the longest kind.
const MAX_MESSAGE: usize = 1 << 20;

/// One end of a connection that keeps messages apart.
#[derive(Debug)]
pub(super) struct Channel(OwnedFd);

impl Channel {
    /// Connects to the socket called `name` in `directory`.
    pub(super) fn connect(directory: BorrowedFd<'_>, name: &str) -> io::Result<Self> {
        let socket = unix_socket(SockType::SeqPacket, SockFlag::empty())?;
        connect(socket.as_raw_fd(), &address(directory, name)?)?;
        setsockopt(&socket, sockopt::SndBuf, &MAX_MESSAGE)?;
        Ok(Self(socket))
    }

    /// Sends a message, and a copy of each descriptor with it.
    pub(super) fn send(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let json = serde_json::to_vec(message)?;
        if json.len() > MAX_MESSAGE || fds.len() > MAX_DESCRIPTORS {
            return Err(Errno::EMSGSIZE.into());
        }
        let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let control = if raw.is_empty() { &[] } else { &rights[..] };
        let data = [IoSlice::new(&json)];
        // MSG_NOSIGNAL: a peer that has gone is an error here, not the end of the process.
        let flags = MsgFlags::MSG_NOSIGNAL;
        sendmsg::<()>(self.0.as_raw_fd(), &data, control, flags, None)?;
        Ok(())
    }

    /// Waits for a message; `None` when the other side has closed.
    pub(super) fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let mut bytes = vec![0; MAX_MESSAGE];
        let mut space = nix::cmsg_space!([RawFd; MAX_DESCRIPTORS]);
        let mut data = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = loop {
            match recvmsg::<()>(self.0.as_raw_fd(), &mut data, Some(&mut space), flags) {
                Err(Errno::EINTR) => {}
                Err(Errno::ECONNRESET) => return Ok(None),
                other => break other?,
            }
        };
        let mut fds = Vec::new();
        for part in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(raw) = part {
                // SAFETY: the kernel has just installed these descriptors for this message, and
                // nobody else knows of them.
                fds.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        let length = message.bytes;
        if message.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC) {
            return Err(Errno::EMSGSIZE.into());
        }
        if length == 0 {
            return Ok(None);
        }
        Ok(Some((serde_json::from_slice(&bytes[..length])?, fds)))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Makes a socket called `name` in `directory` that clients connect to with [`Channel::connect`].
pub(super) fn listen_for_messages(directory: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    listening(SockType::SeqPacket, directory, name)
}

/// The same for plain byte streams.
pub(super) fn listen_for_streams(directory: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    listening(SockType::Stream, directory, name)
}

/// Connects to a byte stream socket.
pub(super) fn connect_stream(directory: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let socket = unix_socket(SockType::Stream, SockFlag::empty())?;
    connect(socket.as_raw_fd(), &address(directory, name)?)?;
    Ok(socket)
}

/// Takes the next client, if one is waiting and is the user that we are; anybody else is sent
/// away.
pub(super) fn accept(listener: &impl AsFd) -> io::Result<Option<Channel>> {
    let socket = match accept4(listener.as_fd().as_raw_fd(), SockFlag::SOCK_CLOEXEC) {
        Err(Errno::EAGAIN | Errno::ECONNABORTED | Errno::EINTR) => return Ok(None),
        other => other?,
    };
    // SAFETY: accept4 has just returned this descriptor, so nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // The directory is ours alone, so this is a second lock on the door.
    let peer = getsockopt(&socket, sockopt::PeerCredentials)?;
    let ours = nix::unistd::geteuid().as_raw();
    Ok((peer.uid() == ours).then_some(Channel(socket)))
}

fn listening(kind: SockType, directory: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let socket = unix_socket(kind, SockFlag::SOCK_NONBLOCK)?;
    bind(socket.as_raw_fd(), &address(directory, name)?)?;
    listen(&socket, Backlog::new(64)?)?;
    Ok(socket)
}

fn unix_socket(kind: SockType, flags: SockFlag) -> io::Result<OwnedFd> {
    Ok(socket(AddressFamily::Unix, kind, flags | SockFlag::SOCK_CLOEXEC, None)?)
}

/// The address of a socket in a directory, however long the directory's own path is: an address
/// has room for 107 bytes only.
fn address(directory: BorrowedFd<'_>, name: &str) -> nix::Result<UnixAddr> {
    UnixAddr::new(&Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;

    #[test]
    fn messages_bring_descriptors() {
        let place = tempfile::tempdir().unwrap();
        let long = place.path().join("x".repeat(150));
        std::fs::create_dir(&long).unwrap();
        let directory = File::open(&long).unwrap();
        let listener = listen_for_messages(directory.as_fd(), "socket").unwrap();
        assert!(accept(&listener).unwrap().is_none());
        let client = Channel::connect(directory.as_fd(), "socket").unwrap();
        let server = accept(&listener).unwrap().unwrap();
        let hosts = File::open("/proc/self/stat").unwrap();
        client.send(&"take this", &[hosts.as_fd()]).unwrap();
        let (text, mut fds) = server.receive::<String>().unwrap().unwrap();
        assert_eq!((&*text, fds.len()), ("take this", 1));
        let mut content = String::new();
        File::from(fds.remove(0)).read_to_string(&mut content).unwrap();
        assert!(!content.is_empty());
        drop(client);
        assert!(server.receive::<String>().unwrap().is_none());
    }
}
