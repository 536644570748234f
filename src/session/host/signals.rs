//! The signals that this process gets, as values.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, killpg, pthread_sigmask, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::getpgrp;

/// Takes in the signals of this process for as long as it lives; then they work as before.
pub(crate) struct Signals {
    fd: SignalFd,
    before: SigSet,
}

/// A signal that has arrived.
pub(crate) struct Arrived {
    pub(crate) signal: Signal,
    /// The kernel sent it, to all of a process group: the terminal did.
    pub(crate) from_terminal: bool,
}

impl Signals {
    /// What a command may be sent by a terminal, a shell or a supervisor, and can react to.
    pub(crate) const PASSED_ON: [Signal; 11] = [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGTSTP,
        Signal::SIGCONT,
        Signal::SIGWINCH,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGALRM,
        Signal::SIGIO,
    ];

    pub(crate) fn take() -> io::Result<Self> {
        let mut set = SigSet::empty();
        Self::PASSED_ON.into_iter().for_each(|signal| set.add(signal));
        let mut before = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&set), Some(&mut before))?;
        match SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK) {
            Ok(fd) => Ok(Self { fd, before }),
            Err(error) => {
                pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
                Err(error.into())
            }
        }
    }

    /// The next one, if there is one.
    pub(crate) fn next(&self) -> io::Result<Option<Arrived>> {
        while let Some(info) = self.fd.read_signal()? {
            let signal = i32::try_from(info.ssi_signo).ok().map(Signal::try_from);
            if let Some(Ok(signal)) = signal {
                let from_terminal = info.ssi_code == libc::SI_KERNEL;
                return Ok(Some(Arrived { signal, from_terminal }));
            }
        }
        Ok(None)
    }

    /// Stops this process, as job control would have stopped the command: with `group`, all of its
    /// process group. Returns when it is continued; or at once where nobody could continue it and
    /// the kernel therefore does not stop it.
    pub(crate) fn stop(&self, group: bool) -> io::Result<()> {
        let mut stop = SigSet::empty();
        stop.add(Signal::SIGTSTP);
        if group {
            killpg(getpgrp(), Signal::SIGTSTP)?;
        } else {
            raise(Signal::SIGTSTP)?;
        }
        // It waits, blocked, and is delivered here.
        pthread_sigmask(SigmaskHow::SIG_UNBLOCK, Some(&stop), None)?;
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&stop), None)?;
        Ok(())
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // Can only fail for an unknown operation.
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}
