//! A pseudo-terminal with duplex in it, as a person sees it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;

/// A terminal and the command that runs in it.
pub(crate) struct Terminal {
    /// The side of the person.
    person: File,
    /// The side of the program, kept open to look at the terminal's settings.
    program: OwnedFd,
    before: Termios,
    child: Child,
    /// All that was printed so far.
    pub(crate) screen: Vec<u8>,
}

impl Terminal {
    /// Starts a command with the terminal as its controlling terminal and standard streams.
    pub(crate) fn start(command: &mut Command) -> Terminal {
        let pty = openpty(None, None).unwrap();
        for side in [&pty.master, &pty.slave] {
            // A child that held the person's side would keep the terminal from hanging up.
            fcntl(side, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
        }
        let stream = || Stdio::from(pty.slave.try_clone().unwrap());
        command.stdin(stream()).stdout(stream()).stderr(stream());
        // SAFETY: between fork and exec these are plain system calls.
        unsafe {
            command.pre_exec(|| {
                nix::unistd::setsid()?;
                match libc::ioctl(0, libc::TIOCSCTTY, 0) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
        let before = tcgetattr(&pty.slave).unwrap();
        let child = command.spawn().unwrap();
        let person = File::from(pty.master);
        Terminal { person, program: pty.slave, before, child, screen: Vec::new() }
    }

    /// Types.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.person.write_all(bytes).unwrap();
    }

    /// Types more than a terminal takes at once, reading what comes back meanwhile.
    pub(crate) fn paste(&mut self, bytes: &[u8]) {
        let mut left = bytes;
        while !left.is_empty() {
            let both = PollFlags::POLLIN | PollFlags::POLLOUT;
            let mut wait = [PollFd::new(self.person.as_fd(), both)];
            assert!(
                poll(&mut wait, PollTimeout::from(60_000_u16)).unwrap() > 0,
                "it takes no more"
            );
            let ready = wait[0].revents().unwrap();
            if ready.contains(PollFlags::POLLIN) {
                self.read(Instant::now());
            }
            if ready.contains(PollFlags::POLLOUT) {
                let (now, later) = left.split_at(left.len().min(256));
                self.write(now);
                left = later;
            }
        }
    }

    /// Reads until `text` was printed; panics with the screen after a minute and a half.
    pub(crate) fn wait_for(&mut self, text: &str) {
        let from = self.screen.len();
        let deadline = Instant::now() + Duration::from_secs(90);
        while !contains(&self.screen[from.saturating_sub(text.len())..], text.as_bytes()) {
            assert!(self.read(deadline), "no '{text}' came; the screen:\n{}", self.text());
        }
    }

    /// As [`Terminal::wait_for`], but anywhere on the screen.
    pub(crate) fn wait_for_text(&mut self, text: &str) {
        if !contains(&self.screen, text.as_bytes()) {
            self.wait_for(text);
        }
    }

    /// Closes the person's side, as when a window is closed.
    pub(crate) fn hang_up(mut self) -> HungUp {
        let devnull = File::open("/dev/null").unwrap();
        drop(std::mem::replace(&mut self.person, devnull));
        HungUp(self)
    }

    /// Reads until `count` bytes are on the screen behind the first `from`, and returns them.
    pub(crate) fn read_exactly(&mut self, from: usize, count: usize) -> Vec<u8> {
        let deadline = Instant::now() + Duration::from_secs(90);
        while self.screen.len() < from + count {
            let got = self.screen.len() - from;
            assert!(self.read(deadline), "only {got} of {count} bytes came");
        }
        self.screen[from..from + count].to_vec()
    }

    /// Reads what is there; `false` at the end or deadline.
    pub(crate) fn read(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap();
        let mut wait = [PollFd::new(self.person.as_fd(), PollFlags::POLLIN)];
        if poll(&mut wait, timeout).unwrap() == 0 {
            return false;
        }
        let mut buffer = [0; 4096];
        match self.person.read(&mut buffer) {
            Ok(0) | Err(_) => false,
            Ok(read) => {
                self.screen.extend(&buffer[..read]);
                true
            }
        }
    }

    /// What the screen shows.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.screen).into_owned()
    }

    /// Sends the command a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// The command's process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Whether the terminal's settings are as they were at first.
    pub(crate) fn is_as_before(&self) -> bool {
        tcgetattr(&self.program).unwrap() == self.before
    }

    /// Waits for the command's end, reading on meanwhile so that it can print.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            // Our own copy of the program's side keeps the terminal from ever ending.
            let soon = Instant::now() + Duration::from_millis(50);
            self.read(soon.min(deadline));
            assert!(Instant::now() < deadline, "it does not end; the screen:\n{}", self.text());
        }
    }
}

/// A terminal that was closed, with the command that was in it.
pub(crate) struct HungUp(Terminal);

impl HungUp {
    /// Waits for the command's end.
    pub(crate) fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.0.child.wait()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Only where a test has failed is it still running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}
