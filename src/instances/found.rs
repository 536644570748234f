//! An instance of whatever process.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::about::{About, Ended, Half, Status};
use super::log::LogReader;
use super::{ABOUT, Entry, Error, PAUSED, SOCKET, ended, group, through};
use crate::isolate::cgroups::{Group, Usage};
use crate::isolate::{Identified, send_signal};
use crate::session::poll::Poll;
use crate::state::{self, INSTANCE, StateDirectory, new_file};

/// How long what a killed process has started may take to end, and how long to wait before looking again.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(1);

/// The longest answer of a socket that a connection waits behind: "OK <port>\n".
const LONGEST_ANSWER: usize = 16;

/// An instance of whatever process.
#[derive(Debug)]
pub struct Found {
    /// What it is.
    pub about: About,
    /// Who runs it.
    run_by: Identified,
    directory: File,
    lock: File,
    group: Option<Group>,
}

impl Found {
    pub(super) fn look_up(state: &StateDirectory, name: &str) -> Result<Option<Found>, Error> {
        let place = format!("{INSTANCE}{name}");
        let (Some(directory), Some(lock)) = (state.find(&place)?, state.lock_of(&place)?) else {
            return Ok(None);
        };
        let damaged = |error: io::Error| Error::Damaged(name.to_owned(), error);
        let entry = match state::read_file(&through(&directory, ABOUT)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.and_then(|bytes| Ok(serde_json::from_slice(&bytes)?)),
        };
        let Entry { about, run_by } = entry.map_err(damaged)?;
        let group = group(&through(&directory, ""), name).map_err(damaged)?;
        Ok(Some(Found { about, run_by, directory, lock, group }))
    }

    /// What it does.
    ///
    /// # Errors
    /// Its lock's.
    pub fn status(&self) -> Result<Status, Error> {
        match self.lock.try_lock_shared() {
            Ok(()) => {
                let ended = self.ending();
                drop(self.lock.unlock());
                Ok(Status::Ended(Box::new(ended)))
            }
            Err(fs::TryLockError::Error(error)) => Err(self.unreachable(error)),
            Err(fs::TryLockError::WouldBlock) => {
                Ok(if self.is_paused() { Status::Paused } else { Status::Running })
            }
        }
    }

    /// Where it is stopped, counted and limited; none where there could be no group, or is none any more.
    pub fn group(&self) -> Option<&Group> {
        self.group.as_ref()
    }

    /// What it uses.
    ///
    /// # Errors
    /// It has ended.
    pub fn usage(&self) -> Result<Usage, Error> {
        self.running()?;
        Ok(self.group.as_ref().map(Group::usage).unwrap_or_default())
    }

    /// The number of the process that runs it.
    ///
    /// # Errors
    /// It has ended.
    pub fn pid(&self) -> Result<Pid, Error> {
        self.running()?;
        Ok(self.run_by.pid())
    }

    /// Its log, if it has one.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn log(&self) -> Result<Option<LogReader>, Error> {
        LogReader::open(&self.directory()).map_err(|error| self.unreachable(error))
    }

    /// Its directory, for as long as this lives.
    pub fn directory(&self) -> PathBuf {
        through(&self.directory, "")
    }

    /// Connects to a port of it.
    ///
    /// # Errors
    /// Nobody listens there; it is not that far, is paused or has ended.
    pub fn connect(&self, port: u32) -> Result<UnixStream, Error> {
        if self.running()? == Status::Paused {
            return Err(Error::Paused(self.about.name.clone()));
        }
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

    /// Stops all its processes, or its VMM.
    ///
    /// # Errors
    /// It has ended, or has no control group.
    pub fn pause(&self) -> Result<(), Error> {
        self.running()?;
        let group = self.freezer()?;
        match self.about.half {
            Half::Container => group.freeze()?,
            Half::Vm => group.freeze_programs()?,
        }
        Ok(())
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// It has ended, or has no control group.
    pub fn resume(&self) -> Result<(), Error> {
        self.running()?;
        Ok(self.freezer()?.thaw()?)
    }

    /// Remembers what was done in the testbed to one that is there.
    ///
    /// # Errors
    /// The file system's.
    pub fn note_paused(&self, paused: bool) -> Result<(), Error> {
        let note = through(&self.directory, PAUSED);
        let noted = match paused {
            true => new_file(&note).map(drop),
            false => fs::remove_file(note),
        };
        match noted {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.unreachable(error)),
            _ => Ok(()),
        }
    }

    fn is_paused(&self) -> bool {
        if self.about.testbed {
            return through(&self.directory, PAUSED).exists();
        }
        self.group.as_ref().is_some_and(Group::is_frozen)
    }

    fn freezer(&self) -> Result<&Group, Error> {
        self.group.as_ref().ok_or_else(|| Error::NoGroup(self.about.name.clone()))
    }

    /// Sends the process that runs it a signal, which passes it on.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        self.running()?;
        let send = || send_signal(self.run_by.open()?.as_fd(), signal);
        send().map_err(|error| self.unreachable(error))?;
        self.let_go_on();
        Ok(())
    }

    /// Sends the process that runs it a signal, and waits until it is gone, at most for `limit`;
    /// false once that has passed.
    ///
    /// # Errors
    /// It may not be sent signals.
    pub fn end(&self, signal: Signal, limit: Duration) -> Result<bool, Error> {
        let send = || -> io::Result<OwnedFd> {
            let process = self.run_by.open()?;
            send_signal(process.as_fd(), signal)?;
            Ok(process)
        };
        let sent = send();
        self.let_go_on();
        match sent {
            Ok(process) => {
                let mut poll = Poll::new();
                poll.add((), &process, true, false);
                let ended = poll.wait(Some(limit)).map_err(|error| self.unreachable(error))?;
                if ended.is_empty() {
                    return Ok(false);
                }
            }
            // It has ended, or is in another PID namespace: then its lock stays.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                self.is_gone_soon().map_err(|_| self.unreachable(error))?;
            }
            Err(error) => return Err(self.unreachable(error)),
        }
        self.wait()?;
        Ok(true)
    }

    /// What is paused can do nothing about a signal. Where it cannot be let go on, it is gone.
    fn let_go_on(&self) {
        let _ = self.note_paused(false);
        if let Some(group) = self.group.as_ref().filter(|group| group.is_frozen()) {
            let _ = group.thaw();
        }
    }

    /// Waits for what has no process any more: those that it has started end a moment later.
    fn is_gone_soon(&self) -> Result<(), TimedOut> {
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.lock.try_lock_shared(), Err(fs::TryLockError::WouldBlock)) {
            if Instant::now() >= deadline {
                return Err(TimedOut);
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// Its lock's.
    pub fn wait(&self) -> Result<Ended, Error> {
        self.lock.lock_shared().map_err(|error| self.unreachable(error))?;
        let ended = self.ending();
        drop(self.lock.unlock());
        Ok(ended)
    }

    /// How it has ended. Who was killed could not say it.
    fn ending(&self) -> Ended {
        ended(&self.lock).unwrap_or_else(Ended::killed)
    }

    /// What it does, unless it has ended.
    fn running(&self) -> Result<Status, Error> {
        match self.status()? {
            Status::Ended(ended) => Err(Error::HasEnded(self.about.name.clone(), ended.status)),
            status => Ok(status),
        }
    }

    /// Calls `then` when it has ended, from another thread.
    ///
    /// # Errors
    /// The kernel has no thread or descriptor left.
    pub fn when_ended(&self, then: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let watch = || -> io::Result<()> {
            // Locks belong to open files: this is one of its own.
            let lock = File::open(format!("/proc/self/fd/{}", self.lock.as_raw_fd()))?;
            thread::Builder::new().spawn(move || {
                if lock.lock_shared().is_ok() {
                    then();
                }
            })?;
            Ok(())
        };
        watch().map_err(|error| self.unreachable(error))
    }

    fn unreachable(&self, error: io::Error) -> Error {
        Error::Unreachable(self.about.name.clone(), error)
    }
}

struct TimedOut;
