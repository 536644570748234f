//! The command: started with standard streams like the caller's.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{self, Stdio};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::unistd::{Pid, tcgetpgrp, tcsetpgrp};

use super::identity::Identity;
use super::observer::Observer;
use crate::session::poll::set_nonblocking;
use crate::session::protocol::{Invocation, NotStarted, StreamKind};
use crate::terminal::WindowSize;

/// The running command and our ends of its streams, all non-blocking.
pub(crate) struct Command {
    pub(crate) pid: Pid,
    pub(crate) stdin: Option<File>,
    pub(crate) stdout: Option<File>,
    pub(crate) stderr: Option<File>,
    pub(crate) terminal: Option<File>,
    /// Kept open: while somebody has it, our end of the terminal reports no hang-up, and what was
    /// written to it can be read to the last byte.
    _slave: Option<OwnedFd>,
}

nix::ioctl_write_int_bad!(
    /// Makes a terminal the controlling one of the calling session leader, ioctl_tty(2).
    take_terminal,
    libc::TIOCSCTTY
);
nix::ioctl_write_ptr_bad!(
    /// Tells a terminal the size of its window, ioctl_tty(2).
    set_window_size,
    libc::TIOCSWINSZ,
    libc::winsize
);

/// What a command's process does besides, between fork and exec: system calls only.
pub(crate) trait BeforeExec: Send + Sync {
    /// While it is still who its parent is.
    fn as_parent(&self) -> io::Result<()>;

    /// Last of all, as who the command is.
    fn last(&self) -> io::Result<()>;
}

impl Command {
    /// Starts it in the working directory of this process, as the user that is given, or as the
    /// same; `wall` is what it does besides.
    ///
    /// # Errors
    /// Whose fault it was, and in words.
    pub(crate) fn start(
        start: &Invocation,
        identity: Option<&Identity>,
        wall: Option<Arc<dyn BeforeExec>>,
        observer: &mut impl Observer,
    ) -> Result<Self, (NotStarted, String)> {
        let broken = |error: io::Error| {
            (NotStarted::Surroundings, format!("cannot make the command's streams: {error}"))
        };
        let Some((program, arguments)) = start.argv.split_first() else {
            return Err((NotStarted::NotFound, "there is no command".into()));
        };
        let terminal = start.streams.contains(&StreamKind::Terminal);
        let terminal =
            terminal.then(|| Terminal::open(start.window)).transpose().map_err(broken)?;
        let slave = terminal.as_ref().map(|terminal| &terminal.slave);
        let [stdin, stdout, stderr] = start.streams;
        let (stdin, child_stdin) = input(stdin, slave).map_err(broken)?;
        let (stdout, child_stdout) = output(stdout, slave).map_err(broken)?;
        let (stderr, child_stderr) = output(stderr, slave).map_err(broken)?;

        let mut command = process::Command::new(program);
        command.args(arguments).env_clear().envs(start.env.iter().map(|(k, v)| (k, v)));
        command.stdin(child_stdin).stdout(child_stdout).stderr(child_stderr).process_group(0);
        let closed: Vec<i32> = (0..)
            .zip(start.streams)
            .filter(|(_, kind)| *kind == StreamKind::Closed)
            .map(|(number, _)| number)
            .collect();
        let foreground = slave.map(|slave| slave.as_raw_fd());
        let identity = identity.cloned();
        if let (Some(slave), Some(identity)) = (slave, &identity) {
            // It is theirs to open again, by its name.
            fchown(slave, Some(identity.uid), None).map_err(broken)?;
        }
        // SAFETY: the closure makes system calls only; the terminal it refers to is open in this
        // process until after the spawn.
        unsafe {
            command.pre_exec(move || {
                become_foreground_job(foreground, &closed)?;
                wall.as_ref().map_or(Ok(()), |wall| wall.as_parent())?;
                identity.as_ref().map_or(Ok(()), Identity::assume)?;
                wall.as_ref().map_or(Ok(()), |wall| wall.last())
            });
        }
        observer.starts();
        let child = command.spawn().map_err(|error| not_started(program, &error))?;
        let pid = Pid::from_raw(child.id().cast_signed());
        let (terminal, slave) = match terminal {
            Some(terminal) => (Some(terminal.master), Some(terminal.slave)),
            None => (None, None),
        };
        Ok(Self { pid, stdin, stdout, stderr, terminal, _slave: slave })
    }

    /// Sends a signal to the command, or to the process group a terminal would send it to.
    pub(crate) fn signal(&self, number: i32, group: bool) -> io::Result<()> {
        let signal = Signal::try_from(number)?;
        if signal == Signal::SIGCONT {
            // Its group may have lost the foreground to this process when it was stopped.
            self.take_foreground();
        }
        let sent = if group || signal == Signal::SIGCONT {
            killpg(self.foreground_group(), signal)
        } else {
            kill(self.pid, signal)
        };
        match sent {
            // It has ended, and we are about to hear of it.
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The size of the caller's window has changed; the terminal tells the command.
    pub(crate) fn resize(&self, window: WindowSize) -> io::Result<()> {
        match &self.terminal {
            Some(terminal) => resize(terminal.as_fd(), window),
            None => Ok(()),
        }
    }

    fn foreground_group(&self) -> Pid {
        let of_terminal = self.terminal.as_ref().and_then(|t| tcgetpgrp(t).ok());
        of_terminal.filter(|group| group.as_raw() > 1).unwrap_or(self.pid)
    }

    fn take_foreground(&self) {
        if let Some(terminal) = &self.terminal {
            // Fails when the group is gone, and then it does not matter.
            let _ = tcsetpgrp(terminal, self.foreground_group());
        }
    }
}

/// A pseudo-terminal that controls this process's session.
struct Terminal {
    master: File,
    slave: OwnedFd,
}

impl Terminal {
    fn open(window: WindowSize) -> io::Result<Self> {
        let master: PtyMaster = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname_r(&master)?;
        let slave =
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open(name)?;
        // SAFETY: an ioctl on an open terminal that takes a plain integer.
        unsafe { take_terminal(slave.as_raw_fd(), 0) }?;
        resize(slave.as_fd(), window)?;
        set_nonblocking(&master)?;
        let master = master.as_fd().try_clone_to_owned()?;
        Ok(Self { master: master.into(), slave: slave.into() })
    }

    fn share(slave: Option<&OwnedFd>) -> io::Result<Stdio> {
        Ok(slave.ok_or(Errno::ENOTTY)?.try_clone()?.into())
    }
}

/// Whose fault it is that a program was not started, execve(2), fork(2).
fn not_started(program: &OsStr, error: &io::Error) -> (NotStarted, String) {
    let said = format!("{}: {error}", program.to_string_lossy());
    let is_there = || program.as_bytes().contains(&b'/') && Path::new(program).exists();
    match error.kind() {
        io::ErrorKind::NotFound if is_there() => (
            NotStarted::NotFound,
            format!("{said}: it is there, but not the interpreter or loader that it names"),
        ),
        io::ErrorKind::NotFound => (NotStarted::NotFound, said),
        io::ErrorKind::WouldBlock => (
            NotStarted::Surroundings,
            format!("{said}: there may be no more processes: see --pids-limit"),
        ),
        _ => (NotStarted::CannotExecute, said),
    }
}

fn resize(terminal: BorrowedFd<'_>, window: WindowSize) -> io::Result<()> {
    let size = libc::winsize {
        ws_row: window.rows,
        ws_col: window.columns,
        ws_xpixel: window.width,
        ws_ypixel: window.height,
    };
    // SAFETY: the terminal is borrowed during the call, which reads one `struct winsize` from the
    // live value.
    unsafe { set_window_size(terminal.as_raw_fd(), &raw const size) }?;
    Ok(())
}

fn input(kind: StreamKind, slave: Option<&OwnedFd>) -> io::Result<(Option<File>, Stdio)> {
    match kind {
        StreamKind::Closed => Ok((None, Stdio::null())),
        StreamKind::Terminal => Ok((None, Terminal::share(slave)?)),
        StreamKind::Pipe => {
            let (reader, writer) = io::pipe()?;
            set_nonblocking(&writer)?;
            Ok((Some(OwnedFd::from(writer).into()), reader.into()))
        }
    }
}

fn output(kind: StreamKind, slave: Option<&OwnedFd>) -> io::Result<(Option<File>, Stdio)> {
    match kind {
        StreamKind::Closed => Ok((None, Stdio::null())),
        StreamKind::Terminal => Ok((None, Terminal::share(slave)?)),
        StreamKind::Pipe => {
            let (reader, writer) = io::pipe()?;
            set_nonblocking(&reader)?;
            Ok((Some(OwnedFd::from(reader).into()), writer.into()))
        }
    }
}

/// In the new process, already leader of its own group: takes the terminal, lets all signals in, and
/// closes what is closed at the caller's.
fn become_foreground_job(terminal: Option<i32>, closed: &[i32]) -> io::Result<()> {
    if let Some(terminal) = terminal {
        // Only the foreground may do this unpunished, and we become it by this very call; our parent,
        // whose signal mask we have, blocks the punishment.
        // SAFETY: a plain system call.
        Errno::result(unsafe { libc::tcsetpgrp(terminal, libc::getpid()) })?;
    }
    SigSet::empty().thread_set_mask()?;
    for number in closed {
        // SAFETY: closes a descriptor of this process that nothing uses before the exec.
        unsafe { libc::close(*number) };
    }
    Ok(())
}
