//! Guest memory given back to the host: it reads as zeroes when the guest touches it again.

use std::io;
use std::os::fd::AsFd;

use nix::fcntl::{FallocateFlags, fallocate};
use vm_memory::{
    Address, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap,
    MemoryRegionAddress,
};

use super::layout::{PAGE, Range};

/// The most pieces of mapped files that are replaced: each may cost the host two mappings more, of which
/// a process can have some 65,000. Linux reports whole megabytes at a time.
const MOST_REPLACED: usize = 8192;

/// Gives memory back, in the way that its kind of mapping asks for.
#[derive(Debug, Default)]
pub struct Reclaim {
    /// Where files are mapped privately: there, dropping the guest's pages would bring back the
    /// file's bytes, so anonymous memory takes the place.
    mapped_files: Vec<Range>,
    replaced: usize,
}

impl Reclaim {
    /// For a guest with files mapped at these guest-physical addresses.
    pub fn new(mapped_files: Vec<Range>) -> Reclaim {
        let whole_pages = |file: Range| Range {
            start: file.start / PAGE * PAGE,
            end: file.end.checked_next_multiple_of(PAGE).unwrap_or(file.end),
        };
        Reclaim { mapped_files: mapped_files.into_iter().map(whole_pages).collect(), replaced: 0 }
    }

    /// Gives back the whole pages of `len` bytes from `gpa` on; returns how many bytes that were.
    ///
    /// # Errors
    /// They are not all memory of one region, or the host refuses.
    pub fn give_back(&mut self, memory: &GuestMemoryMmap, gpa: u64, len: u64) -> io::Result<u64> {
        let outside = || io::Error::from(io::ErrorKind::InvalidInput);
        let end = gpa.checked_add(len).ok_or_else(outside)? / PAGE * PAGE;
        let start = gpa.checked_next_multiple_of(PAGE).ok_or_else(outside)?;
        if start >= end {
            return Ok(0);
        }
        let pages = Range { start, end };
        let region = memory.find_region(GuestAddress(start)).ok_or_else(outside)?;
        let offset = region.to_region_addr(GuestAddress(start)).ok_or_else(outside)?;
        if pages.size() > region.len() - offset.raw_value() {
            return Err(outside());
        }
        if let Some(file) = region.file_offset() {
            let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            let at = i64::try_from(file.start() + offset.raw_value()).map_err(|_| outside())?;
            let size = i64::try_from(pages.size()).map_err(|_| outside())?;
            fallocate(file.file().as_fd(), hole, at, size)?;
        } else if self.mapped_files.iter().any(|file| file.overlaps(pages)) {
            if self.replaced >= MOST_REPLACED {
                return Err(io::ErrorKind::QuotaExceeded.into());
            }
            self.replaced += 1;
            replace_pages(region, offset, pages.size())?;
        } else {
            drop_pages(region, offset, pages.size())?;
        }
        Ok(pages.size())
    }
}

/// Where the host has `bytes` bytes of a region, which reaches at least so far beyond `offset`.
fn host_range(
    region: &GuestRegionMmap,
    offset: MemoryRegionAddress,
    bytes: u64,
) -> io::Result<(*mut libc::c_void, usize)> {
    let host = region.get_host_address(offset).map_err(io::Error::other)?;
    Ok((host.cast(), usize::try_from(bytes).map_err(io::Error::other)?))
}

/// Drops anonymous pages.
fn drop_pages(region: &GuestRegionMmap, offset: MemoryRegionAddress, bytes: u64) -> io::Result<()> {
    let (host, bytes) = host_range(region, offset, bytes)?;
    // SAFETY: the range lies within the region's own mapping and is page-aligned. It is accessed
    // through vm-memory's volatile accessors only, which hold no reference across this call.
    match unsafe { libc::madvise(host, bytes, libc::MADV_DONTNEED) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Puts anonymous pages in the place of a file's.
fn replace_pages(
    region: &GuestRegionMmap,
    offset: MemoryRegionAddress,
    bytes: u64,
) -> io::Result<()> {
    let (host, bytes) = host_range(region, offset, bytes)?;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
    // SAFETY: as in `drop_pages`.
    match unsafe { libc::mmap(host, bytes, protection, flags, -1, 0) } {
        libc::MAP_FAILED => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
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
        let mut reclaim = Reclaim::new(vec![Range { start: MIB, end: MIB + 16384 }]);
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
        let (memory, mut reclaim) = (private(), Reclaim::default());
        for (gpa, len) in
            [(4 * MIB, 4096), (4 * MIB - 4096, 8192), (3 * MIB, 6 * MIB), (u64::MAX, 1)]
        {
            assert!(reclaim.give_back(&memory, gpa, len).is_err(), "{gpa:#x} {len:#x}");
        }
        assert!(reclaim.give_back(&memory, u64::MAX - 10, 20).is_err());
        assert_eq!(reclaim.give_back(&memory, 100, 100).unwrap(), 0, "no whole page");
    }
}
