//! When another process was done with each of its steps, stamped in memory that both share.

use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use super::boot::monotonic;

/// Stamps of so many steps. A process that is forked off shares them; one that executes a program does
/// not. Who stamps may be hostile: whatever it stamps is a number.
#[derive(Debug)]
pub struct SharedStamps {
    memory: NonNull<AtomicU64>,
    count: usize,
}

impl SharedStamps {
    /// Room for `count` stamps.
    ///
    /// # Errors
    /// There is no memory, mmap(2).
    pub fn new(count: usize) -> io::Result<Self> {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping, placed by the kernel.
        let memory =
            unsafe { mmap_anonymous(None, Self::size(count), protection, MapFlags::MAP_SHARED) }?;
        Ok(Self { memory: memory.cast(), count })
    }

    fn size(count: usize) -> NonZeroUsize {
        NonZeroUsize::MIN.saturating_add(count.saturating_mul(size_of::<AtomicU64>()))
    }

    fn slots(&self) -> &[AtomicU64] {
        // SAFETY: the mapping has room for so many, is aligned to a page, zeroed, lives as long as
        // this value, and is only ever used by atomic operations, in whatever process.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.count) }
    }

    /// Stamps a step; one that does not exist is left out.
    pub fn stamp(&self, step: usize) {
        if let Some(slot) = self.slots().get(step) {
            // Nothing else is told by it.
            slot.store(monotonic(), Ordering::Relaxed);
        }
    }

    /// When each step was done, in nanoseconds of the monotonic clock; `None` for those that were not.
    pub fn times(&self) -> impl Iterator<Item = Option<u64>> {
        self.slots().iter().map(|slot| Some(slot.load(Ordering::Relaxed)).filter(|time| *time > 0))
    }
}

impl Drop for SharedStamps {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, of this size, and nothing refers to it any more.
        let _ = unsafe { munmap(self.memory.cast(), Self::size(self.count).get()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_of_a_forked_process_are_seen() {
        let stamps = SharedStamps::new(3).unwrap();
        // SAFETY: the new process makes system calls only.
        match unsafe { nix::unistd::fork() }.unwrap() {
            nix::unistd::ForkResult::Child => {
                stamps.stamp(1);
                stamps.stamp(7);
                // SAFETY: ends the process.
                unsafe { libc::_exit(0) }
            }
            nix::unistd::ForkResult::Parent { child } => {
                nix::sys::wait::waitpid(child, None).unwrap();
            }
        }
        let times: Vec<_> = stamps.times().collect();
        assert!(times[0].is_none() && times[1].is_some() && times[2].is_none());
        assert!(times[1].unwrap() <= monotonic());
    }
}
