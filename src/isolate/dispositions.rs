//! What a process does about signals unless told otherwise, signal(7).

use std::io;

use nix::errno::Errno;

/// The highest signal of Linux on x86.
const HIGHEST: libc::c_int = 64;

/// The kernel's own structure (rt_sigaction(2)): the C library's functions refuse two signals that it
/// uses itself.
#[repr(C)]
struct KernelAction {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

/// Lets all signals do what they do by default, also those that the caller ignores, but for SIGPIPE:
/// that this process goes on to ignore, as programs in Rust do.
pub(crate) fn reset() -> io::Result<()> {
    let default = KernelAction { handler: libc::SIG_DFL, flags: 0, restorer: 0, mask: 0 };
    let others = |number: &i32| ![libc::SIGKILL, libc::SIGSTOP, libc::SIGPIPE].contains(number);
    for number in (1..=HIGHEST).filter(others) {
        let none = std::ptr::null_mut::<KernelAction>();
        // SAFETY: the structure is the kernel's, alive, and of the length that goes with the mask's
        // size; no handler is installed.
        Errno::result(unsafe {
            let action = &raw const default;
            libc::syscall(libc::SYS_rt_sigaction, number, action, none, size_of::<u64>())
        })?;
    }
    Ok(())
}
