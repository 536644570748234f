//! Instances: guests that run, so that `exec`, `ps` and `stop` find them from another process.
//!
//! Each is a place in the [state directory](crate::state), with
//!
//! ```text
//!   about      what it is: an `About`, as JSON
//!   guest      the socket at which programs on this host connect to the guest's vsock ports
//! ```

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::isolate::cgroups::Group;
use crate::isolate::{open_pidfd, send_signal};
use crate::random::random_bytes;
use crate::session::poll::Poll;
use crate::state::{self, OUTSIDE, Place, StateDirectory};
use crate::workload::Process;

/// What the places of instances begin with: testbeds are there too.
const PREFIX: &str = "run-";
const ABOUT: &str = "about";
const SOCKET: &str = "guest";

/// The longest answer of a socket that a connection waits behind: "OK <port>\n".
const LONGEST_ANSWER: usize = 16;

/// Why an instance cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state directory.
    #[error(transparent)]
    State(#[from] state::Error),
    /// Two of one name.
    #[error("a guest called {0} runs already: choose another --name, or end it: duplex stop {0}")]
    Taken(String),
    /// None of this name.
    #[error("no guest called {0} runs: `duplex ps` lists those that do")]
    None(String),
    /// It does not answer.
    #[error("{0} cannot be reached: {1}; it may be starting or ending")]
    Unreachable(String, #[source] io::Error),
}

/// Which wall it is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Half {
    /// A kernel of its own.
    Vm,
    /// The shared kernel's namespaces.
    Container,
}

/// What an instance is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct About {
    /// What it goes by.
    pub name: String,
    /// Which wall it is behind.
    pub half: Half,
    /// The image, as it was named.
    pub image: PathBuf,
    /// What the image says about commands, for further ones.
    #[serde(default)]
    pub process: Process,
    /// The command and its arguments.
    pub command: Vec<String>,
    /// Whether it runs in the testbed.
    pub testbed: bool,
    /// When it was started, in seconds since 1970.
    pub started: u64,
}

/// The place of an instance of this process.
#[derive(Debug)]
pub struct Instance(Place);

impl Instance {
    /// Takes the name; removed when this is dropped.
    ///
    /// # Errors
    /// Somebody has it.
    pub fn claim(about: &About) -> Result<Instance, Error> {
        let state = open()?;
        let made = state.create(&format!("{PREFIX}{}", about.name), |place| {
            fs::write(place.path.join(ABOUT), serde_json::to_vec(about)?)
        })?;
        made.map(|(place, ())| Instance(place)).ok_or_else(|| Error::Taken(about.name.clone()))
    }

    /// Where its socket belongs: a path that is short, whatever the state directory's is, and means
    /// something in this process only.
    pub fn socket(&self) -> PathBuf {
        self.shortcut(SOCKET)
    }

    /// The path of a file of its own that is short in the same way.
    pub fn shortcut(&self, name: &str) -> PathBuf {
        through(&self.0.directory, name)
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        &self.0.path
    }

    /// Makes an empty directory in which things can be mounted.
    ///
    /// # Errors
    /// The file system's.
    pub fn room(&self) -> io::Result<PathBuf> {
        self.0.make_work()
    }

    /// Has whoever finds this instance dead remove its control group. To be called before there is one.
    ///
    /// # Errors
    /// The file system's.
    pub fn remember(&self, group: &Group) -> io::Result<()> {
        if group.members().is_empty() {
            return Ok(());
        }
        fs::write(self.file(OUTSIDE), serde_json::to_vec(group)?)
    }

    /// A file of its own.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path.join(name)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.0.remove();
    }
}

/// An instance of whatever process.
#[derive(Debug)]
pub struct Found {
    /// What it is.
    pub about: About,
    directory: File,
    lock: File,
}

/// Opens the state directory, and removes what instances that were killed have left.
fn open() -> Result<StateDirectory, Error> {
    let clear = |place: &Path| -> io::Result<bool> {
        let group: Group = match fs::read(place.join(OUTSIDE)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
            // Cut short by the end of its writer: then there was no group yet.
            other => serde_json::from_slice(&other?).unwrap_or_default(),
        };
        match group.kill_all().and_then(|()| group.remove()) {
            Ok(()) => Ok(true),
            Err(error) => {
                log::warn!("what {} has left stays for now: {error}", place.display());
                Ok(false)
            }
        }
    };
    Ok(StateDirectory::open_clearing(clear)?)
}

/// All that run.
///
/// # Errors
/// The state directory's.
pub fn all() -> Result<Vec<Found>, Error> {
    let state = open()?;
    let names = state.names()?;
    let ours = names.iter().filter_map(|name| name.strip_prefix(PREFIX));
    // One that ends just now is left out.
    ours.filter_map(|name| found(&state, name).transpose()).collect()
}

/// The one of this name.
///
/// # Errors
/// There is none.
pub fn find(name: &str) -> Result<Found, Error> {
    found(&open()?, name)?.ok_or_else(|| Error::None(name.to_owned()))
}

fn found(state: &StateDirectory, name: &str) -> Result<Option<Found>, Error> {
    let place = format!("{PREFIX}{name}");
    let (Some(directory), Some(lock)) = (state.find(&place)?, state.lock_of(&place)?) else {
        return Ok(None);
    };
    let about = match fs::read(through(&directory, ABOUT)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.and_then(|bytes| Ok(serde_json::from_slice(&bytes)?)),
    };
    let about = about.map_err(|error| state.failed(&error))?;
    Ok(Some(Found { about, directory, lock }))
}

impl Found {
    /// Connects to a port of the guest.
    ///
    /// # Errors
    /// Nobody listens there, or the guest is not that far.
    pub fn connect(&self, port: u32) -> Result<UnixStream, Error> {
        let connect = || -> io::Result<UnixStream> {
            let mut stream = UnixStream::connect(through(&self.directory, SOCKET))?;
            if self.about.half == Half::Container {
                // Its PID 1 itself listens there.
                return Ok(stream);
            }
            stream.write_all(format!("CONNECT {port}\n").as_bytes())?;
            let mut answer = Vec::new();
            while answer.last() != Some(&b'\n') {
                let mut byte = [0];
                if stream.read(&mut byte)? == 0 || answer.len() > LONGEST_ANSWER {
                    return Err(ErrorKind::ConnectionRefused.into());
                }
                answer.push(byte[0]);
            }
            Ok(stream)
        };
        connect().map_err(|error| self.unreachable(error))
    }

    /// Sends the process that runs it a signal, and waits until it is gone, at most for `limit`;
    /// false once that has passed.
    ///
    /// # Errors
    /// It may not be sent signals, or is gone.
    pub fn end(&self, signal: Signal, limit: Duration) -> Result<bool, Error> {
        let end = || -> io::Result<bool> {
            let process = match self.process() {
                // It ends by itself.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => None,
                other => Some(other?),
            };
            let Some(process) = process else { return self.wait() };
            send_signal(process.as_fd(), signal)?;
            let mut poll = Poll::new();
            poll.add((), &process, true, false);
            if poll.wait(Some(limit))?.is_empty() {
                return Ok(false);
            }
            self.wait()
        };
        end().map_err(|error| self.unreachable(error))
    }

    /// Waits until its process has removed it, or is gone.
    fn wait(&self) -> io::Result<bool> {
        self.lock.lock()?;
        Ok(true)
    }

    /// The process that listens at its socket, held: its number alone might have come to mean another.
    fn process(&self) -> io::Result<OwnedFd> {
        let stream = UnixStream::connect(through(&self.directory, SOCKET))?;
        let peer = getsockopt(&stream, sockopt::PeerCredentials)?;
        let process = open_pidfd(Pid::from_raw(peer.pid()))?;
        // It had the number before, and listens still.
        UnixStream::connect(through(&self.directory, SOCKET))?;
        Ok(process)
    }

    fn unreachable(&self, error: io::Error) -> Error {
        Error::Unreachable(self.about.name.clone(), error)
    }
}

/// A name for an instance that was given none.
///
/// # Errors
/// The kernel has no random bytes.
pub fn random_name() -> io::Result<String> {
    let bytes: [u8; 6] = random_bytes()?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A file in an open directory.
fn through(directory: &File, name: &str) -> PathBuf {
    format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()).into()
}
