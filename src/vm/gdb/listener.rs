//! Where GDB connects: a Unix socket that only its owner may use, or a port of this host's loopback.

use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// How long a debugger may not read what it is sent.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A port of 127.0.0.1.
    Port(u16),
    /// A Unix socket, mode 0600.
    Path(PathBuf),
}

/// What no address can be made of.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum BadAddress {
    /// A number that is no port.
    #[error("{0} is no port: give one from 1 to 65535, or a path with a / in it")]
    Port(String),
    /// Nothing.
    #[error("give a port, such as 1234, or a path, such as ./gdb.sock")]
    Empty,
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Address, BadAddress> {
        let digits = text.strip_prefix(':').unwrap_or(text);
        match digits.parse() {
            _ if text.is_empty() => Err(BadAddress::Empty),
            Ok(0) => Err(BadAddress::Port(text.into())),
            Ok(port) => Ok(Address::Port(port)),
            Err(_) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Err(BadAddress::Port(text.into()))
            }
            Err(_) => Ok(Address::Path(text.into())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Port(port) => write!(f, ":{port}"),
            Address::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A socket that GDB can connect to.
pub struct Listener {
    address: Address,
    socket: Socket,
}

enum Socket {
    Tcp(TcpListener),
    /// With its inode: another process may have put another in its place.
    Unix(UnixListener, u64),
}

impl Listener {
    /// Listens.
    ///
    /// # Errors
    /// Somebody else does, or the path is taken.
    pub fn bind(address: &Address) -> io::Result<Listener> {
        let socket = match address {
            Address::Port(port) => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, *port))?;
                listener.set_nonblocking(true)?;
                Socket::Tcp(listener)
            }
            Address::Path(path) => {
                if is_left(path) {
                    fs::remove_file(path)?;
                }
                let listener = UnixListener::bind(path)?;
                fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
                listener.set_nonblocking(true)?;
                let inode = fs::symlink_metadata(path)?.ino();
                Socket::Unix(listener, inode)
            }
        };
        Ok(Listener { address: address.clone(), socket })
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Takes a connection, if there is one.
    pub(super) fn accept(&self) -> Option<Stream> {
        let stream = match &self.socket {
            Socket::Tcp(listener) => {
                let stream = listener.accept().ok()?.0;
                let _ = stream.set_nodelay(true);
                stream.set_nonblocking(false).ok()?;
                stream.set_write_timeout(Some(PATIENCE)).ok()?;
                Stream::Tcp(stream)
            }
            Socket::Unix(listener, _) => {
                let stream = listener.accept().ok()?.0;
                stream.set_nonblocking(false).ok()?;
                stream.set_write_timeout(Some(PATIENCE)).ok()?;
                Stream::Unix(stream)
            }
        };
        Some(stream)
    }
}

/// Whether a path is a socket that a killed duplex has left: nobody listens there. A living one takes datagrams for
/// the wrong type (EPROTOTYPE); a connection would be a debugger to it, and its guest would go on when that left.
fn is_left(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    is_socket && UnixDatagram::unbound().is_ok_and(|probe| probe.connect(path).is_err_and(refused))
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Tcp(listener) => listener.as_fd(),
            Socket::Unix(listener, _) => listener.as_fd(),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let (Address::Path(path), Socket::Unix(_, inode)) = (&self.address, &self.socket)
            && fs::symlink_metadata(path).is_ok_and(|file| file.ino() == *inode)
        {
            let _ = fs::remove_file(path);
        }
    }
}

/// A connection.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_port_and_all_else_a_path() {
        assert_eq!("1234".parse(), Ok(Address::Port(1234)));
        assert_eq!(":1234".parse(), Ok(Address::Port(1234)));
        assert_eq!("./1234".parse(), Ok(Address::Path("./1234".into())));
        for bad in ["0", "65536", "99999999999"] {
            assert_eq!(bad.parse::<Address>(), Err(BadAddress::Port(bad.into())));
        }
        assert_eq!("".parse::<Address>(), Err(BadAddress::Empty));
    }

    #[test]
    fn a_socket_is_the_owners_alone_and_goes_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gdb.sock");
        let address = Address::Path(path.clone());
        let listener = Listener::bind(&address).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(Listener::bind(&address).is_err(), "it is in use");
        assert!(listener.accept().is_none(), "who asks is no debugger");
        drop(listener);
        assert!(!path.exists());
        // What a killed one has left is no obstacle, but a file is none of ours.
        drop(UnixListener::bind(&path).unwrap());
        drop(Listener::bind(&address).unwrap());
        fs::write(&path, "mine").unwrap();
        assert!(Listener::bind(&address).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }
}
