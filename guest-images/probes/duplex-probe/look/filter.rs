//! How many system calls the filter that is in force here lets through, without making one of them.
//!
//! A second filter is installed that hands every call to a supervisor (seccomp_unotify(2)). Where the first
//! one refuses a call its answer counts, for errors take precedence; what it lets through arrives at the
//! supervisor, which answers with an error that no kernel has.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::thread;

use crate::system::{Child, called};

/// How many numbers are tried: all calls of x86-64 up to Linux 6.12. There are none in between.
pub(super) const NUMBERS: u32 = 374;
const FIRST: std::ops::RangeInclusive<i64> = 0..=334;
const SECOND: std::ops::RangeInclusive<i64> = 424..=462;

/// What the supervisor answers.
const PASSED: i32 = 3003;
/// A status by which the end is known that is not to be supervised.
const END: u32 = 0x77;
/// Nobody supervises yet.
const NOBODY: i32 = -1;

/// How many pass; nothing where that can't be told.
pub(super) fn passed() -> io::Result<Option<u32>> {
    let (mut read, mut write) = io::pipe()?;
    let child = Child::start(|| {
        use std::io::Write;
        let passed = count()?;
        write.write_all(&passed.to_ne_bytes())
    })?;
    drop(write);
    let mut passed = [0; 4];
    let told = io::Read::read_exact(&mut read, &mut passed);
    child.end()?;
    Ok(told.ok().map(|()| u32::from_ne_bytes(passed)))
}

/// Counts, in a process of its own: its thread that is filtered never ends.
fn count() -> io::Result<u32> {
    static LISTENER: AtomicI32 = AtomicI32::new(NOBODY);
    static COUNTED: AtomicU32 = AtomicU32::new(u32::MAX);
    let filtered = thread::Builder::new().spawn(|| {
        let listener = match install() {
            Ok(listener) => listener,
            Err(_) => return,
        };
        LISTENER.store(listener, Ordering::SeqCst);
        let passes = |number: &i64| {
            // SAFETY: the call is not made: the first filter or the supervisor answers it.
            let result = unsafe { libc::syscall(*number, 0, 0, 0, 0, 0, 0) };
            result == -1 && io::Error::last_os_error().raw_os_error() == Some(PASSED)
        };
        let passed = FIRST.chain(SECOND).filter(passes).count();
        COUNTED.store(u32::try_from(passed).unwrap_or(u32::MAX), Ordering::SeqCst);
        loop {
            std::hint::spin_loop();
        }
    })?;
    let listener = loop {
        match LISTENER.load(Ordering::SeqCst) {
            NOBODY if filtered.is_finished() => return Err(io::ErrorKind::Unsupported.into()),
            NOBODY => thread::yield_now(),
            // SAFETY: the kernel has just made this descriptor, and nobody else owns it.
            listener => break unsafe { OwnedFd::from_raw_fd(listener) },
        }
    };
    loop {
        match COUNTED.load(Ordering::SeqCst) {
            u32::MAX => answer_next(&listener)?,
            counted => return Ok(counted),
        }
    }
}

/// Filters the calls of this thread, but for one end; returns the supervisor's descriptor.
fn install() -> io::Result<i32> {
    let load = |at| libc::sock_filter { code: LOAD, jt: 0, jf: 0, k: at };
    let equal = |value, jt, jf| libc::sock_filter { code: EQUAL, jt, jf, k: value };
    let answer = |value| libc::sock_filter { code: ANSWER, jt: 0, jf: 0, k: value };
    const LOAD: u16 = 0x20;
    const EQUAL: u16 = 0x15;
    const ANSWER: u16 = 0x06;
    let mut filter = [
        load(0),
        equal(u32::try_from(libc::SYS_exit_group).map_err(io::Error::other)?, 0, 3),
        load(16),
        equal(END, 0, 1),
        answer(libc::SECCOMP_RET_ALLOW),
        answer(libc::SECCOMP_RET_USER_NOTIF),
    ];
    let length = u16::try_from(filter.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len: length, filter: filter.as_mut_ptr() };
    // SAFETY: a program of that length, which the kernel copies.
    let listener = unsafe {
        called(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        let (mode, flag) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
        called(libc::syscall(libc::SYS_seccomp, mode, flag, &raw const program))?
    };
    i32::try_from(listener).map_err(io::Error::other)
}

/// Answers a call, if one waits; looks again after a moment otherwise.
fn answer_next(listener: &OwnedFd) -> io::Result<()> {
    let mut ready = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one descriptor; structures that the kernel reads and writes, zeroed as it asks for.
    unsafe {
        if called(libc::poll(&raw mut ready, 1, 10))? == 0 {
            return Ok(());
        }
        let mut call: libc::seccomp_notif = std::mem::zeroed();
        called(libc::ioctl(listener.as_raw_fd(), RECEIVE, &raw mut call))?;
        let mut answer: libc::seccomp_notif_resp = std::mem::zeroed();
        answer.id = call.id;
        answer.error = -PASSED;
        called(libc::ioctl(listener.as_raw_fd(), SEND, &raw const answer)).map(drop)
    }
}

/// SECCOMP_IOCTL_NOTIF_RECV and SECCOMP_IOCTL_NOTIF_SEND.
const RECEIVE: u64 = 0xc050_2100;
const SEND: u64 = 0xc018_2101;
