//! What the subcommands have in common: arguments, system calls, the clock, children.

use std::ffi::CString;
use std::io;
use std::time::{Duration, Instant};

/// Why it can't go on, for a person.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// A number of the command line.
pub(crate) fn number(text: &str) -> Result<u64, Failure> {
    text.parse().map_err(|_| format!("'{text}' is not a whole number").into())
}

/// The result of a system call.
pub(crate) fn called(result: impl Into<i64>) -> io::Result<i64> {
    let result = result.into();
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// How much a second.
pub(crate) fn rate(amount: u64, took: Duration) -> f64 {
    amount as f64 / took.as_secs_f64()
}

/// How long something takes.
pub(crate) fn timed<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<Duration> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

/// The nearest rank: the least of these that so many in a thousand do not exceed.
pub(crate) fn quantile(sorted: &[Duration], thousandths: usize) -> Duration {
    let rank = (sorted.len() * thousandths).div_ceil(1000).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// Milliseconds.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Marsaglia's xorshift: the same numbers on every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Stays on the processor that it is on. Where that is refused it may move.
pub(crate) fn stay() {
    // SAFETY: plain system calls; the set is on the stack, zeroed, and of the size that is told.
    unsafe {
        let processor = libc::sched_getcpu();
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if let Ok(processor) = usize::try_from(processor) {
            libc::CPU_SET(processor, &mut set);
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
        }
    }
}

/// A child process.
pub(crate) struct Child(pub(crate) libc::pid_t);

impl Child {
    /// Forks. The child does this, and ends; the work must not leave it.
    pub(crate) fn start(work: impl FnOnce() -> io::Result<()>) -> io::Result<Self> {
        // SAFETY: this program has one thread whenever it forks.
        match called(unsafe { libc::fork() })? {
            0 => {
                let status = i32::from(work().is_err());
                // SAFETY: ends this process, without what its parent would do at its end.
                unsafe { libc::_exit(status) }
            }
            pid => Ok(Self(libc::pid_t::try_from(pid).map_err(io::Error::other)?)),
        }
    }

    /// Waits for its end: its status, or the signal that ended it as a negative number.
    pub(crate) fn end(self) -> io::Result<i32> {
        let mut status = 0;
        loop {
            // SAFETY: a plain system call that writes to a variable of ours.
            match called(unsafe { libc::waitpid(self.0, &raw mut status, 0) }) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(_) if libc::WIFSIGNALED(status) => return Ok(-libc::WTERMSIG(status)),
                Ok(_) => return Ok(libc::WEXITSTATUS(status)),
            }
        }
    }
}

/// This program as it is called again, as a child, with one argument.
pub(crate) struct Again {
    program: CString,
    argument: CString,
}

impl Again {
    pub(crate) fn with(argument: &str) -> io::Result<Self> {
        let program = CString::new("/proc/self/exe")?;
        Ok(Self { program, argument: CString::new(argument)? })
    }

    /// Forks, executes, and waits.
    pub(crate) fn run(&self) -> io::Result<()> {
        let child = Child::start(|| {
            let argv = [self.program.as_ptr(), self.argument.as_ptr(), std::ptr::null()];
            // SAFETY: strings and an array that end with a zero.
            called(unsafe { libc::execv(self.program.as_ptr(), argv.as_ptr()) }).map(drop)
        })?;
        match child.end()? {
            0 => Ok(()),
            status => {
                Err(io::Error::other(format!("/proc/self/exe cannot be executed: status {status}")))
            }
        }
    }
}
