//! A process that others can be told of: its number alone may come to mean another.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::unistd::{Pid, getpid};
use serde::{Deserialize, Serialize};

use super::process::open_pidfd;

/// A process by its number and the time at which it was started, proc_pid_stat(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identified {
    /// Its number.
    pid: i32,
    /// In ticks of the clock since the host's start.
    started: u64,
}

impl Identified {
    /// This one.
    ///
    /// # Errors
    /// There is no /proc.
    pub fn this() -> io::Result<Identified> {
        Identified::of(getpid())
    }

    /// One that cannot be waited for by anybody else.
    ///
    /// # Errors
    /// It is gone.
    pub fn of(pid: Pid) -> io::Result<Identified> {
        Ok(Identified { pid: pid.as_raw(), started: stat(pid)?.started })
    }

    /// Its number.
    pub fn pid(self) -> Pid {
        Pid::from_raw(self.pid)
    }

    /// Holds it.
    ///
    /// # Errors
    /// `ESRCH`: it is gone.
    pub fn open(self) -> io::Result<OwnedFd> {
        let held = open_pidfd(self.pid())?;
        // What is held now is what the number means now.
        if stat(self.pid())?.started == self.started { Ok(held) } else { Err(Errno::ESRCH.into()) }
    }

    /// Whether a signal has stopped it.
    pub fn is_stopped(self) -> bool {
        stat(self.pid()).is_ok_and(|stat| stat.started == self.started && stat.state == "T")
    }
}

struct Stat {
    state: String,
    started: u64,
}

fn stat(pid: Pid) -> io::Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound { Errno::ESRCH.into() } else { error }
    })?;
    // The program's name is in parentheses, and may have any of them in it.
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    let mut fields = fields.split_whitespace();
    let state = fields.next().unwrap_or_default().to_owned();
    // State is the third, the time the twenty-second.
    let started = fields.nth(18).and_then(|field| field.parse().ok());
    Ok(Stat { state, started: started.ok_or(Errno::EINVAL)? })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::{WaitPidFlag, waitpid};

    use super::*;

    #[test]
    fn a_process_is_itself_until_it_ends() {
        let this = Identified::this().unwrap();
        assert!(this.open().is_ok() && !this.is_stopped());
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_raw(child.id().try_into().unwrap());
        let identified = Identified::of(pid).unwrap();
        kill(pid, Signal::SIGSTOP).unwrap();
        waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert!(identified.is_stopped() && identified.open().is_ok());
        let other = Identified { started: identified.started + 1, ..identified };
        assert!(!other.is_stopped());
        assert_eq!(other.open().unwrap_err().raw_os_error(), Some(libc::ESRCH));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(identified.open().unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }
}
