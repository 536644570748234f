//! Children of this process that have changed state, by waitpid(2).
//!
//! Not by nix's: that knows no real-time signals, and fails for a child that one of them killed when the
//! child is gone already.

use std::io;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::protocol::Ending;

/// What a child has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It has ended, and is no child any more.
    Ended(Ending),
    /// A signal has stopped it.
    Stopped,
}

/// The next child that has changed state; none when there is none yet.
pub(crate) fn next_change() -> io::Result<Option<(Pid, Change)>> {
    match wait(libc::WNOHANG | libc::WUNTRACED) {
        Err(Errno::ECHILD) => Ok(None),
        other => Ok(other?),
    }
}

/// Waits until this process has no children.
pub(crate) fn wait_for_all() -> io::Result<()> {
    loop {
        match wait(0) {
            Ok(_) => {}
            Err(Errno::ECHILD) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn wait(flags: libc::c_int) -> nix::Result<Option<(Pid, Change)>> {
    loop {
        let mut status = 0;
        // SAFETY: the kernel writes one integer, which outlives the call.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, flags) };
        match Errno::result(pid) {
            Ok(0) => return Ok(None),
            Ok(pid) => return Ok(Some((Pid::from_raw(pid), change(status)))),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

fn change(status: libc::c_int) -> Change {
    if libc::WIFEXITED(status) {
        let status = u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX);
        Change::Ended(Ending::Exited(status))
    } else if libc::WIFSIGNALED(status) {
        Change::Ended(Ending::Killed(libc::WTERMSIG(status)))
    } else {
        Change::Stopped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_say_what_has_happened() {
        let (exited, killed, stopped) = (7 << 8, 34, 0x137f);
        assert_eq!(change(exited), Change::Ended(Ending::Exited(7)));
        // A real-time signal, and one with a core dump.
        assert_eq!(change(killed), Change::Ended(Ending::Killed(34)));
        assert_eq!(change(0x80 | libc::SIGSEGV), Change::Ended(Ending::Killed(libc::SIGSEGV)));
        assert_eq!(change(stopped), Change::Stopped);
    }
}
