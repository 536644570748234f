//! Guest memory given back to the host: it reads as zeroes when the guest touches it again.

use std::io;
use std::ops::Range;
use std::os::fd::AsFd;

use nix::fcntl::{FallocateFlags, fallocate};
use vm_memory::{
    Address, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap,
    MemoryRegionAddress,
};

use super::layout::PAGE;

/// Gives memory back, in the way that its kind of mapping asks for.
#[derive(Debug, Default)]
pub struct Reclaim {
    /// Where files are mapped privately: there, dropping the guest's pages would bring back the
    /// file's bytes, so anonymous memory takes the place.
    mapped_files: Vec<Range<u64>>,
}

impl Reclaim {
    /// For a guest with files mapped at these guest-physical addresses.
    pub fn new(mapped_files: Vec<Range<u64>>) -> Reclaim {
        Reclaim { mapped_files }
    }

    /// Gives back the whole pages of `len` bytes from `gpa` on; returns how many bytes that were.
    ///
    /// # Errors
    /// They are not all memory of one region, or the host refuses.
    pub fn give_back(&self, memory: &GuestMemoryMmap, gpa: u64, len: u64) -> io::Result<u64> {
        let outside = || io::Error::from(io::ErrorKind::InvalidInput);
        let end = gpa.checked_add(len).ok_or_else(outside)? / PAGE * PAGE;
        let start = gpa.checked_next_multiple_of(PAGE).ok_or_else(outside)?;
        let Some(bytes) = end.checked_sub(start).filter(|bytes| *bytes > 0) else { return Ok(0) };
        let region = memory.find_region(GuestAddress(start)).ok_or_else(outside)?;
        let offset = region.to_region_addr(GuestAddress(start)).ok_or_else(outside)?;
        if bytes > region.len() - offset.raw_value() {
            return Err(outside());
        }
        if let Some(file) = region.file_offset() {
            let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            let at = i64::try_from(file.start() + offset.raw_value()).map_err(|_| outside())?;
            fallocate(file.file().as_fd(), hole, at, i64::try_from(bytes).map_err(|_| outside())?)?;
        } else {
            let mapped = self.mapped_files.iter().any(|file| file.start < end && start < file.end);
            drop_pages(region, offset, bytes, mapped)?;
        }
        Ok(bytes)
    }
}

/// Drops private pages of a region, which reaches at least `bytes` beyond `offset`.
fn drop_pages(
    region: &GuestRegionMmap,
    offset: MemoryRegionAddress,
    bytes: u64,
    mapped_file: bool,
) -> io::Result<()> {
    let host = region.get_host_address(offset).map_err(io::Error::other)?.cast();
    let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
    let done = if mapped_file {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
        // SAFETY: the range lies within the region's own mapping and is page-aligned. It is accessed
        // through vm-memory's volatile accessors only, which hold no reference across this call.
        unsafe { libc::mmap(host, bytes, protection, flags, -1, 0) != libc::MAP_FAILED }
    } else {
        // SAFETY: as above.
        unsafe { libc::madvise(host, bytes, libc::MADV_DONTNEED) == 0 }
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;

    use crate::vm::memory;
    use vm_memory::{Bytes, FileOffset};

    const MIB: u64 = 1 << 20;

    fn private() -> GuestMemoryMmap {
        GuestMemoryMmap::from_ranges(&[
            (GuestAddress(0), 4 << 20),
            (GuestAddress(8 * MIB), 1 << 20),
        ])
        .unwrap()
    }

    fn byte(memory: &GuestMemoryMmap, gpa: u64) -> u8 {
        memory.read_obj(GuestAddress(gpa)).unwrap()
    }

    #[test]
    fn pages_given_back_are_zero_and_their_neighbours_stay() {
        let memory = private();
        memory.write_slice(&[7; 5 * 4096], GuestAddress(MIB)).unwrap();
        // Parts of pages stay.
        assert_eq!(Reclaim::default().give_back(&memory, MIB + 1, 3 * 4096).unwrap(), 2 * 4096);
        let seen: Vec<u8> = (0..5).map(|page| byte(&memory, MIB + page * 4096 + 5)).collect();
        assert_eq!(seen, [7, 0, 0, 7, 7]);
    }

    #[test]
    fn a_files_bytes_do_not_come_back() {
        let memory = private();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[9; 16384]).unwrap();
        memory::map_file(&memory, MIB, &file, 0, 16384).unwrap();
        assert_eq!(byte(&memory, MIB), 9);
        let reclaim = Reclaim::new(std::iter::once(MIB..MIB + 16384).collect());
        reclaim.give_back(&memory, MIB + 4096, 8192).unwrap();
        let seen: Vec<u8> = (0..4).map(|page| byte(&memory, MIB + page * 4096)).collect();
        assert_eq!(seen, [9, 0, 0, 9]);
    }

    #[test]
    fn a_shared_file_gets_a_hole() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(MIB).unwrap();
        let range = (GuestAddress(0), 1 << 20, Some(FileOffset::new(file.try_clone().unwrap(), 0)));
        let memory = GuestMemoryMmap::from_ranges_with_files([range]).unwrap();
        memory.write_slice(&[7; 65536], GuestAddress(0)).unwrap();
        let blocks = |file: &File| file.metadata().unwrap().blocks();
        // SAFETY: a system call on an open file.
        unsafe { libc::fsync(file.as_raw_fd()) };
        let before = blocks(&file);
        Reclaim::default().give_back(&memory, 0, 32768).unwrap();
        assert_eq!((byte(&memory, 0), byte(&memory, 40000)), (0, 7));
        assert!(blocks(&file) < before);
    }

    #[test]
    fn what_is_no_memory_is_refused() {
        let (memory, reclaim) = (private(), Reclaim::default());
        for (gpa, len) in
            [(4 * MIB, 4096), (4 * MIB - 4096, 8192), (3 * MIB, 6 * MIB), (u64::MAX, 1)]
        {
            assert!(reclaim.give_back(&memory, gpa, len).is_err(), "{gpa:#x} {len:#x}");
        }
        assert!(reclaim.give_back(&memory, u64::MAX - 10, 20).is_err());
        assert_eq!(reclaim.give_back(&memory, 100, 100).unwrap(), 0, "no whole page");
    }
}
