//! The listening Unix socket: made without harming anybody else's, and gone at the end.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use thiserror::Error;

/// The longest path, so that the socket of any port has a name too: sun_path has 108 bytes, one is a
/// NUL, and "_4294967295" comes behind the path.
const LONGEST: usize = 108 - 1 - "_4294967295".len();

/// Why there is no listening socket.
#[derive(Debug, Error)]
pub enum Error {
    /// The kernel has no longer names for sockets.
    #[error("--vsock path={}: it has {} bytes, and a socket's may have {LONGEST}: give a shorter one", .0.display(), .0.as_os_str().len())]
    TooLong(PathBuf),
    /// Something else is there.
    #[error("--vsock path={}: there is a file that is no socket: give another path, or remove it", .0.display())]
    NotASocket(PathBuf),
    /// Somebody listens there.
    #[error("--vsock path={}: another program listens there: end it, or give another path", .0.display())]
    InUse(PathBuf),
    /// bind(2) and the like.
    #[error("--vsock path={}: no socket can be made there: {}; see that its directory exists and can be written to", .0.display(), .1)]
    Bind(PathBuf, #[source] io::Error),
}

/// A listening socket, removed when this is dropped.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
    inode: (u64, u64),
}

impl Listener {
    /// Listens at `path`. A socket that nobody listens at any more is replaced.
    ///
    /// # Errors
    /// The path is taken, or cannot be made.
    pub fn bind(path: &Path) -> Result<Listener, Error> {
        let failed = |error: io::Error| Error::Bind(path.to_owned(), error);
        if path.as_os_str().as_bytes().len() > LONGEST {
            return Err(Error::TooLong(path.to_owned()));
        }
        // Between finding out that nobody listens and taking the place, nobody else may do the same.
        let _lock = lock_directory(path).map_err(failed)?;
        let socket = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                remove_stale(path)?;
                UnixListener::bind(path)
            }
            other => other,
        };
        socket.and_then(|socket| Listener::new(socket, path)).map_err(failed)
    }

    fn new(socket: UnixListener, path: &Path) -> io::Result<Listener> {
        socket.set_nonblocking(true)?;
        let inode = inode(path)?;
        Ok(Listener { socket, path: path.to_owned(), inode })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next program that connects, if there is one.
    pub(super) fn accept(&self) -> io::Result<Option<UnixStream>> {
        match self.socket.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(true)?;
                Ok(Some(stream))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Not one that somebody else has put there since.
        if inode(&self.path).is_ok_and(|inode| inode == self.inode)
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::warn!("vsock: {} cannot be removed: {error}", self.path.display());
        }
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

fn lock_directory(path: &Path) -> io::Result<Flock<File>> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    let directory = File::open(directory.unwrap_or(Path::new(".")))?;
    Flock::lock(directory, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
}

fn remove_stale(path: &Path) -> Result<(), Error> {
    let failed = |error: io::Error| Error::Bind(path.to_owned(), error);
    if !fs::symlink_metadata(path).map_err(failed)?.file_type().is_socket() {
        return Err(Error::NotASocket(path.to_owned()));
    }
    match connect_without_waiting(path).map_err(|error| (error.kind(), error)) {
        Err((io::ErrorKind::ConnectionRefused, _)) => fs::remove_file(path).map_err(failed),
        // It listens, and does not accept as fast as others connect.
        Ok(_) | Err((io::ErrorKind::WouldBlock, _)) => Err(Error::InUse(path.to_owned())),
        Err((_, error)) => Err(failed(error)),
    }
}

/// A connection to a socket; a listener that does not accept fast enough refuses (EAGAIN).
pub(super) fn connect_without_waiting(path: &Path) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_there_as_long_as_it_is_listened_at() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("v.sock");
        let listener = Listener::bind(&path).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        assert!(matches!(Listener::bind(&path), Err(Error::InUse(_))));
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_nothing_else_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("v.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "the standard library leaves it");
        drop(Listener::bind(&path).unwrap());
        fs::write(&path, "precious").unwrap();
        assert!(matches!(Listener::bind(&path), Err(Error::NotASocket(_))));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn what_somebody_else_has_put_there_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("v.sock");
        let listener = Listener::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        drop(listener);
        assert!(path.exists());
    }

    #[test]
    fn a_path_must_leave_room_for_ports() {
        let long = Path::new("/tmp").join("x".repeat(LONGEST - 4));
        assert!(matches!(Listener::bind(&long), Err(Error::TooLong(_))));
    }
}
