//! Users and groups of this host that a container has to itself.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

/// How many users and groups a container has.
pub(super) const USERS: u32 = 1 << 16;

/// How many ranges there are. They begin above the users of this host.
const RANGES: u32 = 60_000;

/// Each container of this host holds a lock on the byte of its range, which ends with whoever holds it.
const LOCKS: &str = "/run/duplex-users.lock";

/// A range of users and groups that no other container has.
#[derive(Debug)]
pub(super) struct UserRange {
    number: u32,
    /// The lock belongs to the open file (F_OFD_SETLK, fcntl_locking(2)).
    _lock: File,
}

impl UserRange {
    /// Takes the first free one from that on which this number leads to: numbers that are spread, as those
    /// of processes are, find one at once.
    ///
    /// # Errors
    /// The file system's, or there is none left.
    pub(super) fn claim(hint: u32) -> io::Result<UserRange> {
        Self::claim_in(Path::new(LOCKS), hint)
    }

    fn claim_in(path: &Path, hint: u32) -> io::Result<UserRange> {
        let mut options = OpenOptions::new();
        let lock = options.write(true).create(true).truncate(false).mode(0o600).open(path)?;
        for offset in 0..RANGES {
            let number = (hint % RANGES + offset) % RANGES;
            if take(&lock, number)? {
                return Ok(UserRange { number, _lock: lock });
            }
        }
        Err(Errno::EUSERS.into())
    }

    /// The first of its users and groups.
    pub(super) fn first(&self) -> u32 {
        (self.number + 1) * USERS
    }
}

/// Locks the byte of this number; false when somebody else has.
#[expect(clippy::cast_possible_truncation, reason = "the kernel's constants are below ten")]
fn take(file: &File, number: u32) -> io::Result<bool> {
    let wanted = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: number.into(),
        l_len: 1,
        l_pid: 0,
    };
    match fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&wanted)) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_have_the_same_range_and_the_highest_fits() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("locks");
        let claim = |hint| UserRange::claim_in(&path, hint).unwrap();
        let (one, two, last) = (claim(7), claim(7 + RANGES), claim(RANGES - 1));
        assert_eq!((one.first(), two.first()), (8 * USERS, 9 * USERS));
        assert!(last.first().checked_add(USERS).is_some());
        let round = claim(RANGES - 1);
        assert_eq!(round.first(), USERS);
        drop(one);
        assert_eq!(claim(7).first(), 8 * USERS);
    }
}
