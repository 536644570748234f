//! For tests: acts that can't be undone happen in a process of their own; and what is skipped.

use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

/// What `act` says, done in a forked process.
pub(super) fn in_child(act: impl FnOnce() -> Result<String, Errno>) -> String {
    let (text, end) = run(act);
    assert_eq!(end, Some(0), "{text}");
    text
}

/// The signal that ends a forked process that does `act`; none if it comes to its end.
pub(super) fn killed_in_child(act: impl FnOnce()) -> Option<nix::sys::signal::Signal> {
    // SAFETY: as in `run`.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            act();
            // SAFETY: ends this process without running what belongs to the parent.
            unsafe { libc::_exit(0) }
        }
        ForkResult::Parent { child } => match waitpid(child, None).unwrap() {
            WaitStatus::Signaled(_, signal, _) => Some(signal),
            _ => None,
        },
    }
}

fn run(act: impl FnOnce() -> Result<String, Errno>) -> (String, Option<i32>) {
    let (mut reader, mut writer) = io::pipe().unwrap();
    // SAFETY: the C library keeps its allocator usable in the new process, and that does nothing
    // with the locks of other threads of this one.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let (text, status) = match catch_unwind(AssertUnwindSafe(act)) {
                Ok(Ok(text)) => (text, 0),
                Ok(Err(error)) => (error.to_string(), 1),
                Err(_) => ("it panicked".to_owned(), 2),
            };
            let written = writer.write_all(text.as_bytes());
            // SAFETY: ends this process without running what belongs to the parent.
            unsafe { libc::_exit(if written.is_ok() { status } else { 3 }) }
        }
        ForkResult::Parent { child } => {
            drop(writer);
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            let end = match waitpid(child, None).unwrap() {
                WaitStatus::Exited(_, status) => Some(status),
                _ => None,
            };
            (text, end)
        }
    }
}

/// Says what must be seen although the test passes: libtest keeps back what `println!` prints.
pub(super) fn skipped(reason: &str) {
    let _ = writeln!(io::stderr(), "SKIPPED: {reason}");
}

/// What /proc says of this process.
pub(super) fn status() -> String {
    std::fs::read_to_string("/proc/self/status").unwrap_or_default()
}
