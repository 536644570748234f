//! The host's end of the console: where output goes, what was typed, how large the window is.
//!
//! It outlives resets of the device and of the guest: what was typed and not read is for the next
//! driver.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use crate::terminal::WindowSize;
use crate::vm::devices::virtio::interrupt::Interrupt;
use crate::vm::output::Output;

/// The most input that waits here for the guest, in bytes: a buffer of Linux's.
const INPUT: usize = 4096;

/// The host's end. Shared by the device and by whoever has the terminal.
pub struct Port {
    output: Output,
    input: Mutex<VecDeque<u8>>,
    /// Rung when there is input.
    bell: EventFd,
    /// Rung when there is room for input.
    room: EventFd,
    /// Columns in the lower half, rows in the upper; zero where nobody knows.
    size: AtomicU32,
    interrupt: Mutex<Option<Arc<Interrupt>>>,
}

impl Port {
    /// A port that writes what the guest sends to `output`.
    ///
    /// # Errors
    /// No file descriptor left.
    pub fn new(output: Output) -> io::Result<Port> {
        Ok(Port {
            output,
            input: Mutex::default(),
            bell: EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?,
            room: EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?,
            size: AtomicU32::new(0),
            interrupt: Mutex::default(),
        })
    }

    /// Where the guest's output goes.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// Gives the guest input; returns how much of it there was room for.
    pub fn give(&self, bytes: &[u8]) -> usize {
        let mut input = lock(&self.input);
        let taken = bytes.len().min(INPUT - input.len());
        input.extend(bytes.get(..taken).unwrap_or_default());
        if taken > 0 {
            // Only a wake-up: a full counter is one.
            let _ = self.bell.write(1);
        }
        taken
    }

    /// Readable when there is room for input again.
    pub fn room(&self) -> &EventFd {
        &self.room
    }

    /// Says how large the window is now.
    pub fn set_size(&self, size: WindowSize) {
        let size = u32::from(size.columns) | u32::from(size.rows) << 16;
        if self.size.swap(size, Ordering::AcqRel) != size
            && let Some(interrupt) = lock(&self.interrupt).as_ref()
        {
            interrupt.configuration_changed();
        }
    }

    /// Columns and rows as they lie in the configuration space (virtio 1.2, section 5.3.4).
    pub(super) fn size(&self) -> u32 {
        self.size.load(Ordering::Acquire)
    }

    /// Readable when there is input.
    pub(super) fn bell(&self) -> &EventFd {
        &self.bell
    }

    pub(super) fn has_input(&self) -> bool {
        !lock(&self.input).is_empty()
    }

    /// Fills `bytes` as far as there is input, which stays until it is [taken](Self::take).
    pub(super) fn peek<'a>(&self, bytes: &'a mut [u8]) -> &'a [u8] {
        let input = lock(&self.input);
        let len = input.len().min(bytes.len());
        for (to, from) in bytes.iter_mut().zip(input.iter()) {
            *to = *from;
        }
        bytes.get(..len).unwrap_or_default()
    }

    /// The guest has this much.
    pub(super) fn take(&self, len: usize) {
        let mut input = lock(&self.input);
        let len = len.min(input.len());
        input.drain(..len);
        // Only a wake-up: a full counter is one.
        let _ = self.room.write(1);
    }

    /// While the device is active it can be told of a new size.
    pub(super) fn connect(&self, interrupt: Option<Arc<Interrupt>>) {
        *lock(&self.interrupt) = interrupt;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
