//! A process that goes on from here, in namespaces of its own, without executing anything.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::unistd::Pid;

use super::namespaces::Namespaces;
use super::process::Process;
use super::spawn::clone3;

/// What a process ends with that panicked or could not begin.
const FAILED: u8 = 125;

/// The first descriptor after the standard streams.
const FIRST: RawFd = 3;

/// Runs `life` in a new process, which has a copy of this one's memory, its standard streams, and of its
/// other descriptors only `kept`, in that order, in a control group of version 2 where one is given. What
/// `life` returns is the exit status. No destructor of what was copied runs.
///
/// # Safety
/// No other thread may run in this process: a lock that it held would stay locked in the copy.
///
/// # Errors
/// What clone3(2) says.
pub(crate) unsafe fn fork(
    namespaces: Namespaces,
    cgroup: Option<&OwnedFd>,
    kept: &[BorrowedFd<'_>],
    life: impl FnOnce(Vec<OwnedFd>) -> u8,
) -> io::Result<Process> {
    // SAFETY: as promised to this function.
    unsafe { fork_whole(namespaces, cgroup, || keep_only(kept).map_or(FAILED, life)) }
}

/// The same with all descriptors. What belongs to `life` is dropped in this process when it has been
/// started: of a connection that moves there, the other end sees the end of that process.
///
/// # Safety
/// As [`fork`].
///
/// # Errors
/// What clone3(2) says.
pub(crate) unsafe fn fork_whole(
    namespaces: Namespaces,
    cgroup: Option<&OwnedFd>,
    life: impl FnOnce() -> u8,
) -> io::Result<Process> {
    let mut pidfd: RawFd = -1;
    let pid = clone3(namespaces, cgroup, &mut pidfd)?;
    if pid == 0 {
        // Unwinding must not reach what belongs to the parent.
        let status = catch_unwind(AssertUnwindSafe(life)).unwrap_or(FAILED);
        // SAFETY: ends this process, without exit handlers, which belong to the parent.
        unsafe { libc::_exit(status.into()) };
    }
    // SAFETY: clone3 succeeded with CLONE_PIDFD, so it stored a new descriptor that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Process { pid: Pid::from_raw(pid), pidfd })
}

/// Renumbers these descriptors from [`FIRST`] on, and closes all others but the standard streams.
fn keep_only(kept: &[BorrowedFd<'_>]) -> io::Result<Vec<OwnedFd>> {
    let count = RawFd::try_from(kept.len()).map_err(|_| Errno::EMFILE)?;
    // Above all targets first, so that putting one in place cannot overwrite another.
    let above: Vec<RawFd> = kept
        .iter()
        .map(|fd| fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(FIRST + count)))
        .collect::<Result<_, _>>()?;
    let mut placed = Vec::new();
    for (source, target) in above.iter().zip(FIRST..) {
        // SAFETY: this process never uses what had the number before: the parent's values, whose
        // destructors do not run here.
        unsafe {
            Errno::result(libc::dup3(source.as_raw_fd(), target, libc::O_CLOEXEC))?;
            placed.push(OwnedFd::from_raw_fd(target));
        }
    }
    // SAFETY: as above.
    let closed =
        unsafe { libc::syscall(libc::SYS_close_range, FIRST + count, libc::c_uint::MAX, 0) };
    Errno::result(closed)?;
    Ok(placed)
}
