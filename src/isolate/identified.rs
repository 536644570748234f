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
        Ok(Identified { pid: pid.as_raw(), started: started(pid)? })
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
        if started(self.pid())? == self.started { Ok(held) } else { Err(Errno::ESRCH.into()) }
    }
}

/// When it was started.
fn started(pid: Pid) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound { Errno::ESRCH.into() } else { error }
    })?;
    // The program's name is in parentheses, and may have any of them in it.
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    // The first of these is the third of all, and this the twenty-second.
    let field = fields.split_whitespace().nth(19).and_then(|field| field.parse().ok());
    Ok(field.ok_or(Errno::EINVAL)?)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_itself_until_it_ends() {
        let this = Identified::this().unwrap();
        assert!(this.open().is_ok());
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_raw(child.id().try_into().unwrap());
        let identified = Identified::of(pid).unwrap();
        assert!(identified.open().is_ok());
        let other = Identified { started: identified.started + 1, ..identified };
        assert_eq!(other.open().unwrap_err().raw_os_error(), Some(libc::ESRCH));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(identified.open().unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }
}
