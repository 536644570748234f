//! Memory of this process's own, from the kernel and back to it.

use std::io;

use crate::system::called;

/// The least that a processor's page tables map.
pub(crate) const PAGE: usize = 4096;

/// Anonymous memory, in small pages: how many page faults it takes is known then.
pub(crate) struct Memory {
    start: *mut u8,
    length: usize,
}

impl Memory {
    pub(crate) fn new(length: usize) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, wherever the kernel likes.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), length, access, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = Self { start: start.cast(), length };
        // Kernels without huge pages refuse this, and have small ones anyway.
        let _ = memory.advise(libc::MADV_NOHUGEPAGE);
        Ok(memory)
    }

    /// Writes to each page.
    pub(crate) fn touch(&self, value: u8) {
        for offset in (0..self.length).step_by(PAGE) {
            // SAFETY: within the mapping, which is writable; nobody has references into it.
            unsafe { self.start.add(offset).write_volatile(value) };
        }
    }

    /// Gives all pages back; they read as zeroes when they are touched again.
    pub(crate) fn give_back(&self) -> io::Result<()> {
        self.advise(libc::MADV_DONTNEED)
    }

    /// All bytes.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is that long, readable and writable, and borrowed from its owner.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.length) }
    }

    fn advise(&self, advice: libc::c_int) -> io::Result<()> {
        // SAFETY: the whole of a mapping of ours, into which nobody has references.
        called(unsafe { libc::madvise(self.start.cast(), self.length, advice) }).map(drop)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: a mapping of ours, which nobody uses any more.
        unsafe { libc::munmap(self.start.cast(), self.length) };
    }
}
