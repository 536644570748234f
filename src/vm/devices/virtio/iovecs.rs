//! Guest memory as readv(2) and its like take it: the host's kernel reads and writes the guest's
//! buffers where they lie.

use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

use crate::vm::devices::virtio::chain::Buffer;

/// The most that one system call takes (IOV_MAX).
pub(super) const MOST: usize = 1024;

/// The buffers of one request. Reused, so that no request allocates once the longest was seen.
#[derive(Default)]
pub(super) struct IoVecs {
    all: Vec<libc::iovec>,
    /// How many of them are done with.
    done: usize,
}

// SAFETY: the pointers are addresses of guest memory, which any thread may hand to the kernel; they
// are never dereferenced here.
unsafe impl Send for IoVecs {}

impl IoVecs {
    /// Takes the buffers of a request. `false` where one is not guest memory.
    pub(super) fn fill(
        &mut self,
        memory: &GuestMemoryMmap,
        mut buffers: impl Iterator<Item = Buffer>,
    ) -> bool {
        self.clear();
        buffers.all(|buffer| self.add(memory, buffer))
    }

    /// Takes one more buffer. `false` where it is not guest memory, or not all of it.
    pub(super) fn add(&mut self, memory: &GuestMemoryMmap, buffer: Buffer) -> bool {
        let Ok(length) = usize::try_from(buffer.len) else { return false };
        // A buffer may go on from one region of memory into the next.
        for slice in memory.get_slices(GuestAddress(buffer.gpa), length) {
            let Ok(slice) = slice else { return false };
            let base = slice.ptr_guard_mut().as_ptr().cast();
            self.all.push(libc::iovec { iov_base: base, iov_len: slice.len() });
        }
        true
    }

    /// Holds nothing any more.
    pub(super) fn clear(&mut self) {
        self.all.clear();
        self.done = 0;
    }

    /// Takes bytes of the VMM's own, which must live until the system call is over.
    pub(super) fn add_own(&mut self, bytes: &mut [u8]) {
        self.all.push(libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() });
    }

    /// Takes what others hold, but for its first `skip` bytes and what is behind the `len` after.
    pub(super) fn extend<'a>(
        &mut self,
        others: impl IntoIterator<Item = &'a libc::iovec>,
        mut skip: usize,
        mut len: usize,
    ) {
        for other in others {
            let skipped = skip.min(other.iov_len);
            skip -= skipped;
            let taken = len.min(other.iov_len - skipped);
            len -= taken;
            if taken > 0 {
                let iov_base = other.iov_base.wrapping_byte_add(skipped);
                self.all.push(libc::iovec { iov_base, iov_len: taken });
            }
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> &[libc::iovec] {
        &self.all
    }

    /// Forgets all but the first `count`.
    pub(super) fn truncate(&mut self, count: usize) {
        self.all.truncate(count);
    }

    /// Forgets the first `count`.
    pub(super) fn remove_first(&mut self, count: usize) {
        self.all.drain(..count.min(self.all.len()));
    }

    /// What is to be read or written next.
    pub(super) fn rest(&self) -> &[libc::iovec] {
        let rest = self.all.get(self.done..).unwrap_or_default();
        rest.get(..MOST).unwrap_or(rest)
    }

    /// So many bytes more were read or written.
    pub(super) fn advance(&mut self, bytes: u64) {
        let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
        while let Some(vec) = self.all.get_mut(self.done) {
            if left < vec.iov_len {
                vec.iov_base = vec.iov_base.wrapping_byte_add(left);
                vec.iov_len -= left;
                return;
            }
            left -= vec.iov_len;
            self.done += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_may_span_regions_but_must_be_memory() {
        let regions = [(GuestAddress(0), 0x1000), (GuestAddress(0x1000), 0x1000)];
        let memory = GuestMemoryMmap::from_ranges(&regions).unwrap();
        let mut iovecs = IoVecs::default();
        assert!(iovecs.fill(&memory, [Buffer { gpa: 0xF00, len: 0x200 }].into_iter()));
        let lengths: Vec<usize> = iovecs.rest().iter().map(|vec| vec.iov_len).collect();
        assert_eq!(lengths, [0x100, 0x100]);
        for (gpa, len) in [(0x1FFF, 2), (0x2000, 1), (u64::MAX, 2), (0, u32::MAX)] {
            assert!(!iovecs.fill(&memory, [Buffer { gpa, len }].into_iter()), "{gpa:#x} {len}");
        }
    }

    #[test]
    fn what_is_done_is_not_done_again() {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x1000)]).unwrap();
        let mut iovecs = IoVecs::default();
        let buffers = [10, 20, 30].map(|len| Buffer { gpa: u64::from(len), len });
        assert!(iovecs.fill(&memory, buffers.into_iter()));
        iovecs.advance(10);
        iovecs.advance(5);
        let lengths: Vec<usize> = iovecs.rest().iter().map(|vec| vec.iov_len).collect();
        assert_eq!(lengths, [15, 30]);
        iovecs.advance(45);
        assert!(iovecs.rest().is_empty());
    }
}
