//! Which of the standard streams were open when the program started.
//!
//! Rust's runtime opens /dev/null in the place of a standard stream that is closed, before `main`
//! runs, so that no other file can end up under its number. That is wise, but a program that stands
//! in for another must pass on what it was given: reading a closed descriptor fails, reading
//! /dev/null does not. So the question is asked before the runtime starts.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU8, Ordering};

/// One bit a stream that was found closed. Written once, before `main`.
static CLOSED: AtomicU8 = AtomicU8::new(0);

/// The C library calls what it finds in this section before `main`.
// SAFETY: the section holds pointers to functions of this signature; the function makes plain
// system calls and stores to an atomic, which needs neither the runtime nor an allocator.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    let mut closed = 0;
    for number in 0..3 {
        // SAFETY: F_GETFD asks about a number and changes nothing.
        if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
            closed |= 1 << number;
        }
    }
    CLOSED.store(closed, Ordering::Relaxed);
}

/// Standard input, output and error, as far as they were open when the program started.
pub fn open() -> [Option<BorrowedFd<'static>>; 3] {
    let closed = CLOSED.load(Ordering::Relaxed);
    [0, 1, 2].map(|number| {
        // SAFETY: the numbers 0 to 2 are never closed by this program, so that they are open for
        // good: from the start, or as the runtime's /dev/null.
        (closed & (1 << number) == 0).then(|| unsafe { BorrowedFd::borrow_raw(number) })
    })
}
