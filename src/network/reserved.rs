//! Ports of this host that are published: nobody else takes them, and they were nobody's.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use thiserror::Error;

use crate::workload::{Protocol, PublishedPort};

/// Why a port cannot be published.
#[derive(Debug, Error)]
pub enum ReserveError {
    /// Somebody listens there.
    #[error("-p: {0} port {1} of this host is taken: end what listens there, or give another")]
    Taken(Protocol, SocketAddrV4),
    /// Another host's address.
    #[error("-p: this host has no address {0}: `ip addr` shows those it has")]
    NoAddress(Ipv4Addr),
    /// A low port.
    #[error("-p: only root may publish {0} port {1}: give one from 1024 on")]
    NotPermitted(Protocol, SocketAddrV4),
    /// Anything else.
    #[error("-p: {0} port {1} of this host cannot be had: {2}")]
    Refused(Protocol, SocketAddrV4, #[source] io::Error),
}

/// Ports that are held. Packets do not come to these sockets where rules lead them elsewhere.
#[derive(Debug)]
pub struct Reserved {
    _sockets: Vec<OwnedFd>,
}

/// Takes these ports of this host, as long as what is returned is held and this process lives.
///
/// # Errors
/// The first that cannot be had.
pub fn reserve(published: &[PublishedPort]) -> Result<Reserved, ReserveError> {
    Ok(Reserved { _sockets: published.iter().map(take).collect::<Result<_, _>>()? })
}

fn take(port: &PublishedPort) -> Result<OwnedFd, ReserveError> {
    let (at, protocol) = (port.host, port.protocol);
    let socket = match protocol {
        Protocol::Tcp => TcpListener::bind(at).map(OwnedFd::from),
        Protocol::Udp => UdpSocket::bind(at).map(OwnedFd::from),
    };
    socket.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => ReserveError::Taken(protocol, at),
        io::ErrorKind::AddrNotAvailable => ReserveError::NoAddress(*at.ip()),
        io::ErrorKind::PermissionDenied => ReserveError::NotPermitted(protocol, at),
        _ => ReserveError::Refused(protocol, at, error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    #[test]
    fn what_is_taken_is_refused_until_it_is_free() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let SocketAddr::V4(host) = free.local_addr().unwrap() else { panic!("IPv4") };
        let port = PublishedPort { host, inside: 80, protocol: Protocol::Tcp };
        assert!(matches!(reserve(&[port]), Err(ReserveError::Taken(..))));
        drop(free);
        let held = reserve(&[port]).unwrap();
        assert!(matches!(reserve(&[port]), Err(ReserveError::Taken(..))));
        // Datagrams are something else.
        reserve(&[PublishedPort { protocol: Protocol::Udp, ..port }]).unwrap();
        drop(held);
        assert!(matches!(reserve(&[port, port]), Err(ReserveError::Taken(..))));
        let elsewhere = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 8080);
        let error = reserve(&[PublishedPort { host: elsewhere, ..port }]).unwrap_err();
        assert!(matches!(error, ReserveError::NoAddress(_)), "{error}");
    }
}
