//! Users and groups of this host that a container has to itself.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use crate::state::new_file;

/// How many users and groups a container has.
pub(crate) const USERS: u32 = 1 << 16;

/// How many ranges there are. They begin above the users of this host.
const RANGES: u32 = 60_000;

/// Who says which users and groups belong to users of this host, subuid(5).
const DELEGATED: [&str; 2] = ["/etc/subuid", "/etc/subgid"];

/// How much of each is read, in bytes: enough for thousands of users.
const LONGEST: u64 = 1 << 20;

/// Each container of this host holds a lock on the byte of its range. duplex has it, which learns its PID 1's
/// number, where the search begins, when that is there already: so if duplex is killed the lock ends a moment
/// before the kernel has killed the container; the numbers of later ones seldom lead there in that moment.
const LOCKS: &str = "/run/duplex-users.lock";

/// A range of users and groups that no other container has, nor any user of this host.
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
        Self::claim_in(Path::new(LOCKS), hint, &delegated())
    }

    fn claim_in(path: &Path, hint: u32, others: &[Range<u64>]) -> io::Result<UserRange> {
        let lock = new_file(path)?;
        for offset in 0..RANGES {
            let number = (hint % RANGES + offset) % RANGES;
            let own = u64::from(first(number))..u64::from(first(number)) + u64::from(USERS);
            let meets = |other: &Range<u64>| own.start < other.end && other.start < own.end;
            if !others.iter().any(meets) && take(&lock, number)? {
                return Ok(UserRange { number, _lock: lock });
            }
        }
        Err(Errno::EUSERS.into())
    }

    /// The first of its users and groups.
    pub(super) fn first(&self) -> u32 {
        first(self.number)
    }
}

/// The first user of the range with this number.
fn first(number: u32) -> u32 {
    (number + 1) * USERS
}

/// What users of this host have for containers of their own.
fn delegated() -> Vec<Range<u64>> {
    let mut all = Vec::new();
    for path in DELEGATED {
        let mut text = Vec::new();
        // A host without such users has no such file; of one that cannot be read what is there counts.
        if let Ok(file) = File::open(path) {
            let _ = file.take(LONGEST).read_to_end(&mut text);
        }
        all.extend(ranges(&String::from_utf8_lossy(&text)));
    }
    all
}

/// The ranges of lines `user:first:count`. Others mean nothing.
fn ranges(text: &str) -> impl Iterator<Item = Range<u64>> {
    text.lines().filter_map(|line| {
        let mut numbers = line.split(':').skip(1).map(|field| field.trim().parse::<u64>());
        let (first, count) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        (count > 0).then(|| first..first.saturating_add(count))
    })
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
        let claim = |hint| UserRange::claim_in(&path, hint, &[]).unwrap();
        let (one, two, last) = (claim(7), claim(7 + RANGES), claim(RANGES - 1));
        assert_eq!((one.first(), two.first()), (8 * USERS, 9 * USERS));
        assert!(last.first().checked_add(USERS).is_some());
        let round = claim(RANGES - 1);
        assert_eq!(round.first(), USERS);
        drop(one);
        assert_eq!(claim(7).first(), 8 * USERS);
    }

    #[test]
    fn what_belongs_to_users_of_this_host_is_left_to_them() {
        let text = "me:100000:65536\n#x\n\nme\nme::\nme:1:\nme:-1:5\nme:0:0\n\u{0}:x:y\nyou:4294901760:9\n\
                    all:18446744073709551615:18446744073709551615";
        let others: Vec<_> = ranges(text).collect();
        let expected = [100_000..165_536, 4_294_901_760..4_294_901_769, u64::MAX..u64::MAX];
        assert_eq!(others, expected);
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("locks");
        let claim = |hint, others: &[Range<u64>]| UserRange::claim_in(&path, hint, others);
        // 65536 to 131071 and 131072 to 196607 overlap with the first.
        assert_eq!(claim(0, &others).unwrap().first(), 3 * USERS);
        assert_eq!(claim(1, &others).unwrap().first(), 3 * USERS);
        // What begins where a range ends is no part of it.
        let beside = [0..65_536, 131_072..131_073];
        assert_eq!(claim(0, &beside).unwrap().first(), USERS);
        let everything = 0..u64::MAX;
        let error = claim(0, std::slice::from_ref(&everything)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EUSERS));
    }
}
