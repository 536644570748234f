//! A pseudo-terminal with a program in it, as a person sees it.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::Signal;
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};

use super::process::{PATIENCE, Pipe, Process, ready};

nix::ioctl_write_ptr_bad!(set_window_size, libc::TIOCSWINSZ, libc::winsize);

/// How much is pasted at a time: less than a terminal holds.
const PASTED_AT_ONCE: usize = 256;

/// A terminal of 24 lines and 80 columns, and the program that runs in it.
pub(crate) struct Terminal {
    keyboard: File,
    screen: Pipe,
    /// The side of the program, kept open to look at the terminal's settings.
    program: OwnedFd,
    before: Termios,
    process: Process,
}

impl Terminal {
    /// Starts a command with the terminal as its controlling terminal and standard streams.
    pub(crate) fn start(command: &mut Command) -> Terminal {
        let pty = openpty(&window(24, 80), None).unwrap();
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
                nix::errno::Errno::result(libc::ioctl(0, libc::TIOCSCTTY, 0))?;
                Ok(())
            });
        }
        let before = tcgetattr(&pty.slave).unwrap();
        let process = Process::start(command);
        let keyboard = File::from(pty.master);
        let screen = Pipe::new(Some(keyboard.try_clone().unwrap()), &format!("{command:?}"));
        let screen = screen.ends_with(&process);
        Terminal { keyboard, screen, program: pty.slave, before, process }
    }

    /// Types a few keys.
    pub(crate) fn type_in(&mut self, keys: impl AsRef<[u8]>) {
        self.keyboard.write_all(keys.as_ref()).unwrap();
    }

    /// Types more than a terminal takes at once, reading what comes back meanwhile.
    pub(crate) fn paste(&mut self, bytes: &[u8]) {
        let mut left = bytes;
        while !left.is_empty() {
            let both = PollFlags::POLLIN | PollFlags::POLLOUT;
            let mut wait = [PollFd::new(self.keyboard.as_fd(), both)];
            let minute = PollTimeout::from(60_000_u16);
            assert!(poll(&mut wait, minute).unwrap() > 0, "{} bytes are not taken", left.len());
            let can = wait[0].revents().unwrap();
            if can.contains(PollFlags::POLLIN) {
                self.screen.read_some();
            }
            if can.contains(PollFlags::POLLOUT) {
                let (now, later) = left.split_at(left.len().min(PASTED_AT_ONCE));
                self.type_in(now);
                left = later;
            }
        }
    }

    /// Reads until `text` is printed, behind what was waited for before; returns all up to it.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        self.screen.wait_for(text)
    }

    /// Reads `count` bytes behind what was waited for before.
    pub(crate) fn read_exactly(&mut self, count: usize) -> Vec<u8> {
        self.screen.read_exactly(count)
    }

    /// All that was printed.
    pub(crate) fn text(&self) -> String {
        self.screen.text()
    }

    /// Changes the window's size.
    pub(crate) fn resize(&mut self, rows: u16, columns: u16) {
        let size = window(rows, columns);
        // SAFETY: reads the live struct.
        unsafe { set_window_size(self.keyboard.as_raw_fd(), &raw const size) }.unwrap();
    }

    /// Sends the program a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits until the program is stopped.
    pub(crate) fn stopped(&self) {
        self.process.stopped();
    }

    /// Whether the terminal's settings are as they were at first.
    pub(crate) fn is_as_before(&self) -> bool {
        tcgetattr(&self.program).unwrap() == self.before
    }

    /// Whether the terminal passes keys on as they are typed.
    pub(crate) fn is_raw(&self) -> bool {
        !tcgetattr(&self.program).unwrap().local_flags.contains(LocalFlags::ICANON)
    }

    /// Waits until [`Terminal::is_raw`]. No event tells of a change, so this looks again and again.
    pub(crate) fn wait_until_raw(&mut self) {
        const LOOK: Duration = Duration::from_millis(10);
        let mut looks = PATIENCE.as_millis() / LOOK.as_millis();
        while !self.is_raw() {
            looks -= 1;
            assert!(looks > 0, "the terminal stays cooked; the screen:\n{}", self.text());
            self.process.ends_within(LOOK);
        }
    }

    /// Waits for the program's end, reading on meanwhile so that it can print.
    pub(crate) fn end(&mut self) -> ExitStatus {
        while let Some(screen) = self.screen.fd() {
            match ready(&[screen, self.process.end_fd()], PATIENCE).as_slice() {
                // The screen comes first: what was printed before the end is read.
                [0, ..] => self.screen.read_some(),
                _ => break,
            }
        }
        self.process.end()
    }

    /// Closes the person's side, as when a window is closed; the program goes on.
    pub(crate) fn hang_up(self) -> Process {
        self.process
    }
}

fn window(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}
