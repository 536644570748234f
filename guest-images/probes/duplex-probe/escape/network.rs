//! Sockets outside.

use std::io::{IoSliceMut, Read};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use super::facts;
use super::system::{self, Got, called, fact, held, is_marker, number, read_marker, text};

pub(crate) const ATTEMPTS: &[super::Attempt] = &[
    ("abstract-socket", abstract_socket),
    ("passed-descriptor", passed_descriptor),
    ("loopback", loopback),
    ("packets", packets),
    ("host-name", host_name),
];

fn connect() -> std::io::Result<UnixStream> {
    UnixStream::connect_addr(&SocketAddr::from_abstract_name(fact(facts::SOCKET))?)
}

/// A socket outside that has no file.
fn abstract_socket() -> Got {
    connect()?;
    Ok("connected to an abstract socket outside".into())
}

/// Somebody outside helps, and hands over a descriptor of a directory there.
fn passed_descriptor() -> Got {
    let socket = connect()?;
    let mut byte = [0];
    let mut data = [IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!([i32; 1]);
    let flags = MsgFlags::empty();
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut data, Some(&mut space), flags)?;
    let Some(ControlMessageOwned::ScmRights(passed)) = message.cmsgs()?.next() else {
        return Err(held("nothing was passed"));
    };
    called(unsafe { libc::fchdir(passed[0]) }.into())?;
    read_marker("marker")
}

/// A service that is meant for the host alone.
fn loopback() -> Got {
    let mut content = Vec::new();
    TcpStream::connect(("127.0.0.1", number(facts::PORT)))?.read_to_end(&mut content)?;
    is_marker(&content)?;
    Ok("spoke to a service on the host's loopback interface".into())
}

/// Whatever is on a network interface outside, seen and sent by a raw socket; nothing is.
fn packets() -> Got {
    let protocol = 0x88b5_u16.to_be();
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    let socket = called(unsafe { libc::socket(libc::AF_PACKET, kind, protocol.into()) }.into())?;
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
    address.sll_protocol = protocol;
    let name = text(&fact(facts::INTERFACE));
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    address.sll_ifindex = index.try_into().unwrap();
    if index == 0 {
        return Err(std::io::Error::last_os_error());
    }
    called(unsafe {
        let address = (&raw const address).cast();
        let size = size_of::<libc::sockaddr_ll>();
        libc::bind(socket.try_into().unwrap(), address, size.try_into().unwrap()).into()
    })?;
    Ok(format!("a raw socket is on {}", name.to_string_lossy()))
}

/// What the other calls itself.
fn host_name() -> Got {
    let own = system::host_name();
    if own == fact(facts::HOST) { Ok(own) } else { Err(held("this has another name")) }
}
