//! The observer: starts a command and sees, from outside, when it says something and when it has ended.
//!
//! Its clock starts before fork and exec, so whatever a contender does to start counts. It ends a command with
//! all of its process group.

mod mishap;
mod stream;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use self::stream::Stream;
use super::stop::Stop;
use crate::isolate::open_pidfd;

pub use self::mishap::Mishap;

/// How much of what a command says on standard error is kept, unless asked otherwise: the last of it.
const TAIL: usize = 2000;

/// How long to wait before looking whether to stop: a signal that comes just before the wait wakes nobody.
const LOOK: Duration = Duration::from_millis(200);

/// How far a command may go.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// How long it may take; then it is killed.
    pub time: Duration,
    /// How many bytes of its output are kept; more are read and dropped.
    pub output: usize,
    /// How many bytes of what it says on standard error are kept: the last ones.
    pub errors: usize,
    /// What the workload's output begins with. A contender whose console has the same stream may say
    /// something before that, which is not the workload's first byte.
    pub marker: Vec<u8>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { time: Duration::from_secs(60), output: 1 << 20, errors: TAIL, marker: Vec::new() }
    }
}

/// What was seen of a command from its start to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// From before its start until the workload's first byte was there.
    pub first_byte: Duration,
    /// From before its start until it had ended.
    pub exit: Duration,
    /// What it wrote to standard output, as far as it is kept.
    pub output: Vec<u8>,
    /// What it wrote to standard error, as far as it is kept.
    pub errors: Vec<u8>,
}

/// Watches a command from its start to its end, which must be a good one.
///
/// # Errors
/// [`Mishap`]; nothing of the command runs any more then, but what has left its process group.
pub fn observe(command: &mut Command, bounds: &Bounds, stop: &Stop) -> Result<Observation, Mishap> {
    Running::start(command, bounds)?.until_exit(stop)
}

/// A command that runs. It is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    ended: OwnedFd,
    stdout: Stream<ChildStdout>,
    stderr: Stream<ChildStderr>,
    start: Instant,
    bounds: Bounds,
    first_byte: Option<Duration>,
    /// When it had ended, and how.
    end: Option<(Duration, ExitStatus)>,
}

impl Running {
    /// Starts it, in a process group of its own; its input stays what it was set to, which should not be this
    /// process's own.
    ///
    /// # Errors
    /// It cannot be started or watched.
    pub fn start(command: &mut Command, bounds: &Bounds) -> Result<Self, Mishap> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let start = Instant::now();
        let mut child = command.spawn().map_err(Mishap::NotStarted)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let watched = pid_of(&child).and_then(open_pidfd);
        let ended = watched.map_err(|error| {
            // It is this process's child, so its number still means it.
            let _ = child.kill().and_then(|()| child.wait());
            Mishap::Unwatched(error)
        })?;
        let running = Self {
            child,
            ended,
            stdout: Stream { open: stdout, kept: Vec::new() },
            stderr: Stream { open: stderr, kept: Vec::new() },
            start,
            bounds: bounds.clone(),
            first_byte: None,
            end: None,
        };
        running.do_not_block().map_err(Mishap::Unwatched)?;
        Ok(running)
    }

    fn do_not_block(&self) -> io::Result<()> {
        use nix::fcntl::{FcntlArg, OFlag, fcntl};
        let nonblocking = FcntlArg::F_SETFL(OFlag::O_NONBLOCK);
        if let Some(stdout) = &self.stdout.open {
            fcntl(stdout, nonblocking)?;
        }
        if let Some(stderr) = &self.stderr.open {
            fcntl(stderr, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(())
    }

    /// The process that was started.
    pub fn pid(&self) -> Option<Pid> {
        pid_of(&self.child).ok()
    }

    /// Whether it runs no more.
    pub fn has_ended(&self) -> bool {
        let mut ended = [PollFd::new(self.ended.as_fd(), PollFlags::POLLIN)];
        self.end.is_some() || poll(&mut ended, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Its standard input, if that was set to a pipe; the first time.
    pub fn take_input(&mut self) -> Option<std::process::ChildStdin> {
        self.child.stdin.take()
    }

    /// What it has written to standard output so far, as far as it is kept.
    pub fn output(&self) -> &[u8] {
        &self.stdout.kept
    }

    /// Waits until the workload has written its first byte; returns how long after the start that was.
    ///
    /// # Errors
    /// It ended, the time is up, or the run is to stop.
    pub fn until_first_byte(&mut self, stop: &Stop) -> Result<Duration, Mishap> {
        loop {
            if let Some(time) = self.first_byte {
                return Ok(time);
            }
            if let Some((_, status)) = self.end {
                return Err(self.bad_end(status));
            }
            self.step(stop)?;
        }
    }

    /// Waits until it has written so many bytes, the marker's among them.
    ///
    /// # Errors
    /// It ended, the time is up, or the run is to stop.
    pub fn until_output(&mut self, bytes: usize, stop: &Stop) -> Result<&[u8], Mishap> {
        while self.stdout.kept.len() < bytes.min(self.bounds.output) {
            if let Some((_, status)) = self.end {
                return Err(self.bad_end(status));
            }
            self.step(stop)?;
        }
        Ok(&self.stdout.kept)
    }

    /// Waits until it has ended; that must be a good end.
    ///
    /// # Errors
    /// It was none, the workload wrote nothing, the time is up, or the run is to stop.
    pub fn until_exit(mut self, stop: &Stop) -> Result<Observation, Mishap> {
        let (exit, status) = loop {
            if let Some(end) = self.end {
                break end;
            }
            self.step(stop)?;
        };
        match self.first_byte {
            Some(first_byte) if status.success() => {
                let output = std::mem::take(&mut self.stdout.kept);
                let errors = std::mem::take(&mut self.stderr.kept);
                Ok(Observation { first_byte, exit, output, errors })
            }
            _ => Err(self.bad_end(status)),
        }
    }

    fn bad_end(&mut self, status: ExitStatus) -> Mishap {
        let said = self.said();
        if status.success() { Mishap::Silent(said) } else { Mishap::Failed(status, said) }
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&self.stderr.kept).into_owned()
    }

    /// Waits until something happens, and takes note of it.
    fn step(&mut self, stop: &Stop) -> Result<(), Mishap> {
        let left = self.bounds.time.checked_sub(self.start.elapsed());
        let Some(left) = left else {
            self.kill();
            self.read(self.start.elapsed());
            return Err(Mishap::TooLong(self.bounds.time, self.said()));
        };
        if stop.is_requested() {
            self.kill();
            return Err(Mishap::Stopped);
        }
        let wait = PollTimeout::try_from(left.min(LOOK)).unwrap_or(PollTimeout::ZERO);
        let stdout = self.stdout.open.as_ref().map(AsFd::as_fd);
        let stderr = self.stderr.open.as_ref().map(AsFd::as_fd);
        let mut fds: Vec<PollFd<'_>> = [Some(self.ended.as_fd()), stdout, stderr]
            .into_iter()
            .flatten()
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        match poll(&mut fds, wait) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(Mishap::Unwatched(error.into())),
        }
        let now = self.start.elapsed();
        let has_ended = fds.first().and_then(PollFd::any).unwrap_or_default();
        self.read(now);
        if has_ended {
            self.end_at(now);
        }
        Ok(())
    }

    /// Takes what has come by now, without waiting.
    fn read(&mut self, now: Duration) {
        let marker = &self.bounds.marker;
        // Only what is new is searched: a serial port brings a byte at a time, and looking at all again each time
        // would be the observer's own work in others' figures.
        let from = self.stdout.kept.len().saturating_sub(marker.len().saturating_sub(1));
        if self.stdout.read(self.bounds.output, false) && self.first_byte.is_none() {
            let new = self.stdout.kept.get(from..).unwrap_or_default();
            let is_there = match marker.is_empty() {
                true => !new.is_empty(),
                false => new.windows(marker.len()).any(|window| window == marker),
            };
            self.first_byte = is_there.then_some(now);
        }
        self.stderr.read(self.bounds.errors, true);
    }

    /// Ends it, and all of its process group.
    fn kill(&mut self) {
        if self.end.is_none() {
            self.end_at(self.start.elapsed());
        }
    }

    /// Ends what is left of its process group, and takes its end.
    fn end_at(&mut self, now: Duration) {
        if let Some(pid) = self.pid() {
            // Not waited for yet: the number still means it.
            let _ = killpg(pid, Signal::SIGKILL);
        }
        let status = self.child.wait().unwrap_or(ExitStatus::from_raw(libc::SIGKILL));
        self.end = Some((now, status));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

fn pid_of(child: &Child) -> io::Result<Pid> {
    Ok(Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?))
}

#[cfg(test)]
mod tests;
