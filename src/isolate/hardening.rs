//! The small walls round a process, one system call each. All of them can be put up between clone
//! and exec: they make system calls only.

use std::io::Write;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{read, write};

/// From now on no exec gives this thread what it does not have: set-user-id bits and file
/// capabilities have no effect, prctl(2), PR_SET_NO_NEW_PRIVS.
pub fn no_new_privileges() -> Result<(), Errno> {
    // SAFETY: a plain system call.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }).map(drop)
}

/// Until the next exec no process of the same user can trace this one or reach what it has open
/// through /proc, prctl(2), PR_SET_DUMPABLE. What /proc has of this process belongs to root then, so
/// that an ordinary user's process has to write there (id maps, the OOM score) before this.
pub fn not_dumpable() -> Result<(), Errno> {
    // SAFETY: a plain system call.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }).map(drop)
}

/// An empty session keyring of its own, keyrings(7): the keys of whoever started this process are
/// out of reach. The caller's own keyrings are not: a process of the same user has those wherever
/// it is, which is one of the reasons why the filter refuses keyctl.
///
/// # Errors
/// `EDQUOT` when the user has too many keys (/proc/sys/kernel/keys/maxkeys). A kernel without keys
/// is no error.
pub fn own_session_keyring() -> Result<(), Errno> {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    let no_name = std::ptr::null::<libc::c_char>();
    // SAFETY: a plain system call; without a name the keyring is a new one.
    match Errno::result(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, no_name) }) {
        Ok(_) | Err(Errno::ENOSYS) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes this process and its children at least as likely to be killed when memory is short as
/// `score` says, from -1000 to 1000, proc_pid_oom_score_adj(5). Never less likely: that would be
/// at the cost of others.
///
/// # Errors
/// `EINVAL` when /proc shows no number or `score` is beyond 1000, and what opening and writing say.
pub fn raise_oom_score(score: i16) -> Result<(), Errno> {
    let file = open(c"/proc/self/oom_score_adj", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut text = [0; 8];
    let length = read(&file, &mut text)?;
    let text = str::from_utf8(text.get(..length).unwrap_or_default());
    let now: i16 = text.ok().and_then(|text| text.trim_end().parse().ok()).ok_or(Errno::EINVAL)?;
    if now >= score {
        return Ok(());
    }
    let mut text = [0; 8];
    let mut rest = text.as_mut_slice();
    write!(rest, "{score}").map_err(|_| Errno::EINVAL)?;
    let left = rest.len();
    write(&file, text.get(..text.len() - left).unwrap_or_default()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isolate::in_child::{in_child, skipped, status};

    fn oom_score() -> String {
        std::fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().to_owned()
    }

    #[test]
    fn no_new_privileges_shows() {
        let text = in_child(|| no_new_privileges().map(|()| status()));
        assert!(text.contains("NoNewPrivs:\t1\n"), "{text}");
    }

    #[test]
    fn dumpable_is_off() {
        let text = in_child(|| {
            not_dumpable()?;
            // SAFETY: a plain system call.
            Ok(unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) }.to_string())
        });
        assert_eq!(text, "0");
    }

    #[test]
    fn the_session_keyring_is_another() {
        // SAFETY: a plain system call: the serial number of the session keyring (-3), which is not
        // made if there is none.
        let serial = || unsafe { libc::syscall(libc::SYS_keyctl, 0, -3, 0) };
        let text = in_child(|| {
            own_session_keyring()?;
            let first = serial();
            own_session_keyring()?;
            Ok(format!("{first} {}", serial()))
        });
        let (first, second) = text.split_once(' ').unwrap();
        if first == "-1" {
            skipped("this kernel has no keys");
        } else {
            assert_ne!(first, second);
        }
    }

    #[test]
    fn the_oom_score_only_rises() {
        let before: i16 = oom_score().parse().unwrap();
        let higher = before.max(0) / 2 + 500;
        let text = in_child(|| {
            raise_oom_score(higher)?;
            let first = oom_score();
            raise_oom_score(-1000)?;
            Ok(format!("{first} {}", oom_score()))
        });
        assert_eq!(text, format!("{higher} {higher}"));
        assert_eq!(in_child(|| Ok(format!("{:?}", raise_oom_score(1001)))), "Err(EINVAL)");
    }
}
