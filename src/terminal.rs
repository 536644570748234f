//! The caller's terminal: raw mode, and back on every way out.
//!
//! A console that lives elsewhere (a guest's serial line, a pseudo-terminal in the testbed) has a
//! line discipline of its own, so ours must pass every byte through untouched. Whoever needs that
//! holds a [`RawMode`]; dropping it, also by a panic that unwinds, gives the terminal back as it
//! was found. A signal that ends the program must therefore be turned into an ordinary return
//! (a signalfd in the event loop), and one that stops it into [`RawMode::suspend`] before the stop
//! and [`RawMode::resume`] after it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::termios::{self, SetArg, SpecialCharacterIndices, Termios};
use nix::unistd;

nix::ioctl_read_bad!(
    /// Reads the window size of a terminal, tty_ioctl(4).
    tiocgwinsz,
    libc::TIOCGWINSZ,
    libc::winsize
);

/// A terminal in raw mode; it gets its former settings back when this is dropped.
#[derive(Debug)]
pub struct RawMode {
    // A duplicate: the terminal can still be restored when the caller's descriptor is closed.
    tty: OwnedFd,
    // The settings to go back to; none while the terminal is not in our hands.
    saved: Option<Termios>,
}

impl RawMode {
    /// Puts the terminal behind `fd` into raw mode. `None` when `fd` is no terminal.
    ///
    /// In a background process group the terminal belongs to somebody else and is left alone;
    /// [`resume`](Self::resume) takes it once a shell's `fg` has handed it over.
    pub fn enter(fd: impl AsFd) -> io::Result<Option<Self>> {
        match termios::tcgetattr(fd.as_fd()) {
            Ok(_) => {}
            // ENOTTY is the answer for files, pipes and sockets; EIO that of a terminal that
            // hung up, which needs no settings either.
            Err(Errno::ENOTTY | Errno::EINVAL | Errno::EIO) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let mut mode = Self { tty: fd.as_fd().try_clone_to_owned()?, saved: None };
        mode.resume()?;
        Ok(Some(mode))
    }

    /// Puts the terminal into raw mode again: after a stop, or when this process has come to the
    /// foreground. Does nothing when it already is raw, or belongs to another process group.
    pub fn resume(&mut self) -> io::Result<()> {
        if self.saved.is_some() || !in_foreground(self.tty.as_fd()) {
            return Ok(());
        }
        // Read anew each time: the user may have run stty while we were stopped.
        let found = termios::tcgetattr(&self.tty)?;
        let mut raw = found.clone();
        termios::cfmakeraw(&mut raw);
        raw.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        raw.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        set(self.tty.as_fd(), &raw)?;
        self.saved = Some(found);
        Ok(())
    }

    /// Gives the terminal back, until [`resume`](Self::resume).
    pub fn suspend(&mut self) -> io::Result<()> {
        match self.saved.take() {
            // In the background the shell has put its own settings back; ours would spoil them.
            Some(saved) if in_foreground(self.tty.as_fd()) => set(self.tty.as_fd(), &saved),
            _ => Ok(()),
        }
    }

    /// Whether the terminal is in raw mode now.
    pub fn is_active(&self) -> bool {
        self.saved.is_some()
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // Nobody is left to tell, and the usual failure is a terminal that has gone away.
        let _ = self.suspend();
    }
}

/// Applies settings at once. Waiting for the output to drain (`TCSADRAIN`) could wait forever, on
/// a terminal stopped by Ctrl-S or one whose other side reads no more.
fn set(tty: BorrowedFd<'_>, settings: &Termios) -> io::Result<()> {
    // If the foreground changes hands between the caller's look and this call, SIGTTOU would stop
    // the process; blocked, it lets the call through.
    let mut ttou = SigSet::empty();
    ttou.add(Signal::SIGTTOU);
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&ttou), Some(&mut before))?;
    let done = termios::tcsetattr(tty, SetArg::TCSANOW, settings);
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    done.map_err(Into::into)
}

/// Whether this process may change the terminal: its process group is in the foreground, or the
/// terminal is not the one that controls it, where no job control applies.
fn in_foreground(tty: BorrowedFd<'_>) -> bool {
    match unistd::tcgetpgrp(tty) {
        Ok(group) => group == unistd::getpgrp(),
        Err(error) => error == Errno::ENOTTY,
    }
}

/// The size of a terminal's window, in characters and (where the terminal tells) in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WindowSize {
    /// Lines of text.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
    /// Width in pixels, or 0.
    pub width: u16,
    /// Height in pixels, or 0.
    pub height: u16,
}

/// The window size of the terminal behind `fd`; `ENOTTY` when it is none.
pub fn window_size(fd: impl AsFd) -> io::Result<WindowSize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is borrowed for the duration of the call, and the kernel writes one
    // `struct winsize` to the live, exclusively borrowed value that is passed.
    unsafe { tiocgwinsz(fd.as_fd().as_raw_fd(), &raw mut size) }?;
    Ok(WindowSize {
        rows: size.ws_row,
        columns: size.ws_col,
        width: size.ws_xpixel,
        height: size.ws_ypixel,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::pty::{OpenptyResult, Winsize, openpty};
    use nix::sys::termios::{LocalFlags, OutputFlags};

    fn pty() -> OpenptyResult {
        let size = Winsize { ws_row: 33, ws_col: 101, ws_xpixel: 0, ws_ypixel: 0 };
        openpty(&size, None).unwrap()
    }

    fn is_raw(tty: &OwnedFd) -> bool {
        let now = termios::tcgetattr(tty).unwrap();
        !now.local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG)
            && !now.output_flags.contains(OutputFlags::OPOST)
    }

    #[test]
    fn raw_until_dropped() {
        let pty = pty();
        let before = termios::tcgetattr(&pty.slave).unwrap();
        let mode = RawMode::enter(&pty.slave).unwrap().unwrap();
        assert!(mode.is_active() && is_raw(&pty.slave));
        drop(mode);
        assert_eq!(before, termios::tcgetattr(&pty.slave).unwrap());
    }

    #[test]
    fn suspended_and_resumed() {
        let pty = pty();
        let mut mode = RawMode::enter(&pty.slave).unwrap().unwrap();
        mode.suspend().unwrap();
        assert!(!mode.is_active() && !is_raw(&pty.slave));
        // What the user changes while we are stopped is what we give back in the end.
        let mut changed = termios::tcgetattr(&pty.slave).unwrap();
        changed.local_flags.remove(LocalFlags::ECHO);
        termios::tcsetattr(&pty.slave, SetArg::TCSANOW, &changed).unwrap();
        mode.resume().unwrap();
        assert!(mode.is_active() && is_raw(&pty.slave));
        drop(mode);
        let after = termios::tcgetattr(&pty.slave).unwrap();
        assert!(!after.local_flags.contains(LocalFlags::ECHO));
        assert!(after.local_flags.contains(LocalFlags::ICANON));
    }

    #[test]
    fn restored_when_a_panic_unwinds() {
        let pty = pty();
        let slave = pty.slave.try_clone().unwrap();
        let thread = std::thread::spawn(move || {
            let _mode = RawMode::enter(&slave).unwrap().unwrap();
            panic!("on purpose");
        });
        assert!(thread.join().is_err());
        assert!(!is_raw(&pty.slave));
    }

    #[test]
    fn a_pipe_is_no_terminal() {
        let (reader, _writer) = io::pipe().unwrap();
        assert!(RawMode::enter(&reader).unwrap().is_none());
        assert_eq!(window_size(&reader).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
    }

    #[test]
    fn a_terminal_that_hung_up_is_no_error() {
        let pty = pty();
        let mode = RawMode::enter(&pty.slave).unwrap().unwrap();
        drop(pty.master);
        drop(mode);
        assert!(RawMode::enter(&pty.slave).unwrap().is_none());
    }

    #[test]
    fn tells_the_window_size() {
        let pty = pty();
        let size = window_size(&pty.slave).unwrap();
        assert_eq!((size.rows, size.columns), (33, 101));
    }
}
