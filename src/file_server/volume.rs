//! Starting the server of a volume.
//!
//! What a guest may do with a directory is decided by the kernel, not by virtiofsd or by the guest: the
//! server has a mount namespace of its own in which the directory is mounted once more, read-only if
//! that was asked for, and is confined to that mount. It ends when its connection is closed, and the
//! kernel kills it when this process ends, however that happens.

use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::Virtiofsd;
use crate::isolate::{IdentityMap, Namespaces, Process, Program};

/// The subcommand of this program that becomes the server.
pub(crate) const SUBCOMMAND: &str = "volume-server";

/// How much of what a server says is told.
const LONGEST_REMARK: u64 = 4096;

/// Why a directory cannot be served.
#[derive(Debug, Error)]
pub enum Error {
    /// No such program.
    #[error(
        "volumes need virtiofsd, which is not installed: 'apt-get install virtiofsd' (on Debian 12 \
         it comes with qemu-system-x86)"
    )]
    Missing,
    /// It cannot be started.
    #[error(
        "volume {}: its file server cannot be started: {source}; it needs mount namespaces, and for \
         an ordinary user also user namespaces", path.display()
    )]
    Start {
        /// The directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// A server of a directory, and a connection to it. Dropping it ends the server.
#[derive(Debug)]
pub struct FileServer {
    process: Process,
    /// What it says.
    remarks: PipeReader,
}

impl FileServer {
    /// Starts to serve `path`. `meeting` is a path of ours, in a directory that is ours alone, which is
    /// free; the server is met there, and then it is free again. `cover` is a directory which the
    /// server, and nobody else, sees `path` in the place of.
    ///
    /// # Errors
    /// What the host lacks. What is wrong with the directory the server says itself: its connection
    /// ends, see [`FileServer::last_words`].
    pub fn start(
        path: &Path,
        read_only: bool,
        meeting: &Path,
        cover: &Path,
    ) -> Result<(FileServer, UnixStream), Error> {
        if !Virtiofsd::is_installed() {
            return Err(Error::Missing);
        }
        let failed = |source| Error::Start { path: path.to_owned(), source };
        let start = || -> io::Result<(FileServer, UnixStream)> {
            let listener = UnixListener::bind(meeting)?;
            // The first to be accepted, and the only one: nobody else finds the way.
            let connection = UnixStream::connect(meeting);
            std::fs::remove_file(meeting)?;
            let (remarks, said) = io::pipe()?;
            let null = OwnedFd::from(File::options().read(true).write(true).open("/dev/null")?);
            let said = OwnedFd::from(said);
            let descriptors = vec![null, said.try_clone()?, said, listener.into()];
            let access = if read_only { "ro" } else { "rw" };
            let argv = ["duplex".as_ref(), SUBCOMMAND.as_ref(), access.as_ref(), path, cover];
            let mut namespaces = Namespaces::MOUNT;
            if !nix::unistd::geteuid().is_root() {
                namespaces = namespaces | Namespaces::USER;
            }
            let process = Program::new("/proc/self/exe", argv)?
                .namespaces(namespaces)
                .identity(IdentityMap::of_caller())
                .descriptors(descriptors)
                .dies_with_parent()
                .spawn()?;
            Ok((FileServer { process, remarks }, connection?))
        };
        start().map_err(failed)
    }

    /// Becomes readable when the server says something; what it says has to be taken, or it waits.
    pub fn remarks(&self) -> &PipeReader {
        &self.remarks
    }

    /// Ends the server at once. When this returns it does nothing any more.
    pub fn end(&self) {
        match self.process.kill().and_then(|()| self.process.wait()) {
            // It was waited for before.
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => {}
            Err(error) => log::warn!("a file server cannot be ended: {error}"),
            Ok(_) => {}
        }
    }

    /// Ends it, and returns the end of what it has said.
    pub fn last_words(&self) -> String {
        self.end();
        let mut said = Vec::new();
        // It has ended, and nobody else has the other end.
        let _ = (&self.remarks).take(LONGEST_REMARK).read_to_end(&mut said);
        String::from_utf8_lossy(&said).trim().to_owned()
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        self.end();
    }
}
