//! Processes that are killed before a certain system call: ptrace(2) stops them there, so that it is the
//! same one each time, however busy the machine is.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Stops at system calls show as this, with PTRACE_O_TRACESYSGOOD.
const AT_CALL: i32 = libc::SIGTRAP | 0x80;

/// Runs a command up to its system call of this number, the first being 1, and kills it there. What it has
/// started is not followed. Returns how many it has made if it ended before. Its streams must need nobody.
pub(crate) fn killed_at(command: &mut Command, number: usize) -> Option<usize> {
    // SAFETY: a plain system call: the parent is to trace this process, which stops when it executes the
    // program.
    unsafe { command.pre_exec(|| request(libc::PTRACE_TRACEME, 0, 0)) };
    let mut child = command.spawn().unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    assert_eq!(stop_of(pid), Some(libc::SIGTRAP));
    // Nothing that is traced outlives a test that fails.
    let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL;
    request(libc::PTRACE_SETOPTIONS, pid.as_raw(), options).unwrap();
    let (mut calls, mut signal) = (0, 0);
    let mut is_entry = true;
    loop {
        request(libc::PTRACE_SYSCALL, pid.as_raw(), signal).unwrap();
        signal = 0;
        match stop_of(pid) {
            None => return Some(calls),
            Some(AT_CALL) => {
                if is_entry {
                    calls += 1;
                }
                if is_entry && calls == number {
                    kill(pid, Signal::SIGKILL).unwrap();
                    child.wait().unwrap();
                    return None;
                }
                is_entry = !is_entry;
            }
            // It is to get this one.
            Some(other) => signal = other,
        }
    }
}

/// Waits until it stops, and says by what; `None` if it has ended.
fn stop_of(pid: Pid) -> Option<i32> {
    let mut status = 0;
    // SAFETY: the status is alive.
    Errno::result(unsafe { libc::waitpid(pid.as_raw(), &raw mut status, 0) }).unwrap();
    libc::WIFSTOPPED(status).then(|| libc::WSTOPSIG(status))
}

fn request(what: libc::c_uint, pid: i32, data: i32) -> std::io::Result<()> {
    let none = ptr::null_mut::<libc::c_void>();
    // SAFETY: these requests take numbers and no memory.
    Errno::result(unsafe { libc::ptrace(what, pid, none, libc::c_long::from(data)) })?;
    Ok(())
}
