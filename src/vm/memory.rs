//! Guest memory: allocated on first touch, and files mapped into it without a copy.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use thiserror::Error;
use vm_memory::{
    Address, FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion,
    GuestRegionMmap, MmapRegion,
};

use super::huge_pages::{self, HUGE_PAGE};
use super::layout::{self, GIB, MMIO_HOLE, PAGE, Range};
use crate::workload::MemorySize;

/// What went wrong with guest memory.
#[derive(Debug, Error)]
pub enum Error {
    /// More than the processors have addresses for.
    #[error(
        "{0} of guest memory is more than this host's processors can address ({2} bits): give at \
         most {most}G with --memory", most = .1 / GIB
    )]
    Unaddressable(MemorySize, u64, u32),
    /// mmap(2) refused.
    #[error("the host cannot provide {0} of guest memory: {1}; give the guest less with --memory")]
    Allocate(MemorySize, String),
    /// KVM refused a memory slot.
    #[error(
        "KVM refuses guest memory at {0:#x} ({1} bytes): {2}; give the guest less with --memory"
    )]
    Slot(u64, u64, #[source] kvm_ioctls::Error),
    /// A mapping outside of guest memory or not page-aligned: checked by the boot plan.
    #[error("no file can be mapped at guest-physical {0:#x} ({1} bytes)")]
    Misplaced(u64, u64),
    /// The file system cannot map, or there are too many mappings.
    #[error("a file cannot be mapped into guest memory: {0}")]
    Map(#[source] io::Error),
}

/// Checks that processors with physical addresses of `address_bits` bits have one for every byte of
/// a guest's memory, and for the hole in it.
///
/// # Errors
/// [`Error::Unaddressable`].
pub fn check(size: MemorySize, address_bits: u32) -> Result<(), Error> {
    let addresses = 1_u64.checked_shl(address_bits).unwrap_or(u64::MAX);
    let most = addresses.saturating_sub(MMIO_HOLE.size());
    if size.bytes() > most {
        return Err(Error::Unaddressable(size, most, address_bits));
    }
    Ok(())
}

/// Reserves address space for a guest's memory; the host provides pages as they are touched.
///
/// # Errors
/// The host has no room for it.
pub fn allocate(size: MemorySize) -> Result<GuestMemoryMmap, Error> {
    let regions = layout::ram(size.bytes())
        .into_iter()
        .map(|range| {
            let mapping = map_congruent(usize::try_from(range.size())?)?;
            GuestRegionMmap::new(mapping, GuestAddress(range.start))
                .ok_or_else(|| "its addresses wrap around".into())
        })
        .collect::<Result<Vec<_>, Box<dyn std::error::Error>>>()
        .map_err(|error| Error::Allocate(size, error.to_string()))?;
    let memory = GuestMemoryMmap::from_regions(regions)
        .map_err(|error| Error::Allocate(size, error.to_string()))?;
    huge_pages::avoid(&memory);
    Ok(memory)
}

/// The same as one file that other processes can map, for a back end of vhost-user: nothing in it is
/// ever a private mapping. It cannot be cut off, for whoever has it could end this process so.
///
/// # Errors
/// The host has no room for it.
pub fn allocate_shared(size: MemorySize) -> Result<GuestMemoryMmap, Error> {
    let allocate = || -> Result<GuestMemoryMmap, Box<dyn std::error::Error>> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = File::from(memfd_create(c"guest-memory", flags)?);
        let ranges = layout::ram(size.bytes());
        file.set_len(ranges.iter().map(|range| range.size()).sum())?;
        let sealed = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(sealed))?;
        let mut regions = Vec::new();
        let mut offset = 0;
        for range in ranges {
            let place = FileOffset::new(file.try_clone()?, offset);
            let mapping = MmapRegion::from_file(place, usize::try_from(range.size())?)?;
            offset += range.size();
            let region = GuestRegionMmap::new(mapping, GuestAddress(range.start));
            regions.push(region.ok_or("its addresses wrap around")?);
        }
        Ok(GuestMemoryMmap::from_regions(regions)?)
    };
    allocate().map_err(|error| Error::Allocate(size, error.to_string()))
}

/// Maps anonymous memory at a multiple of the huge page size, so that host and guest addresses are
/// congruent (each range of guest memory starts at such a multiple): only then can KVM map a huge
/// page of the host as one. Linux places large mappings so from 6.7 on. Before that the mapping goes
/// wherever the one above it ends; the lower part of a huge page is then held back there, and the
/// next try ends lower by just that. Should another thread get in between, the guest is a little
/// slower and nothing else.
fn map_congruent(size: usize) -> Result<MmapRegion, vm_memory::mmap::MmapRegionError> {
    let mapping = MmapRegion::new(size)?;
    let excess = mapping.as_ptr() as usize % HUGE_PAGE;
    if excess == 0 || size < HUGE_PAGE {
        return Ok(mapping);
    }
    let end = mapping.as_ptr() as usize + size;
    drop(mapping);
    let spacer = Spacer::new(end - excess, excess);
    let mapping = MmapRegion::new(size);
    drop(spacer);
    mapping
}

/// Address space held back.
struct Spacer {
    start: *mut libc::c_void,
    length: usize,
}

impl Spacer {
    /// Holds back `length` bytes at `address`, or elsewhere if somebody has them.
    fn new(address: usize, length: usize) -> Spacer {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        // SAFETY: with MAP_FIXED_NOREPLACE no mapping is replaced, and nobody knows of the new one.
        let start = unsafe { libc::mmap(address as *mut _, length, libc::PROT_NONE, flags, -1, 0) };
        Spacer { start, length }
    }
}

impl Drop for Spacer {
    fn drop(&mut self) {
        if self.start != libc::MAP_FAILED {
            // SAFETY: this is the mapping that `new` made, and nothing points into it.
            unsafe { libc::munmap(self.start, self.length) };
        }
    }
}

/// Has the host provide the pages of `range` now, where it is guest memory, as if the guest had
/// written to each. What can't be provided comes when the guest touches it: hosts before Linux 5.14
/// don't know the call, and a file may have been cut off.
pub fn provide(memory: &GuestMemoryMmap, range: Range) {
    let start = range.start / PAGE * PAGE;
    let size = range.end.checked_next_multiple_of(PAGE).and_then(|end| end.checked_sub(start));
    let Some(Ok(length)) = size.map(usize::try_from) else { return };
    let Ok(slice) = memory.get_slice(GuestAddress(start), length) else { return };
    // SAFETY: the slice is guest memory, and nothing changes in it: its pages are only touched.
    unsafe {
        libc::madvise(slice.ptr_guard_mut().as_ptr().cast(), length, libc::MADV_POPULATE_WRITE);
    }
}

/// Shows the memory to a VM, a KVM slot a region.
///
/// # Errors
/// KVM's, with the region.
pub fn register(vm: &VmFd, memory: &GuestMemoryMmap) -> Result<(), Error> {
    for (slot, region) in (0..).zip(memory.iter()) {
        let start = region.start_addr().raw_value();
        let description = kvm_userspace_memory_region {
            slot,
            guest_phys_addr: start,
            memory_size: region.len(),
            userspace_addr: region.as_ptr() as u64,
            flags: 0,
        };
        // SAFETY: the host range is the region's own mapping, which `Machine` keeps alive for
        // longer than the VM.
        unsafe { vm.set_user_memory_region(description) }
            .map_err(|error| Error::Slot(start, region.len(), error))?;
    }
    Ok(())
}

/// Maps `size` bytes of `file` from `offset` on over guest memory at `gpa`, privately: the guest's
/// writes stay its own. All three must be multiples of the page size, but for a `size` that ends
/// with the file: the rest of that page reads as zeroes.
///
/// # Errors
/// [`Error::Misplaced`] where that is not guest memory, [`Error::Map`] where the file system
/// cannot map, or the memory is shared.
pub fn map_file(
    memory: &GuestMemoryMmap,
    gpa: u64,
    file: &File,
    offset: u64,
    size: u64,
) -> Result<(), Error> {
    let misplaced = || Error::Misplaced(gpa, size);
    let length = usize::try_from(size.next_multiple_of(PAGE)).map_err(|_| misplaced())?;
    let file_offset = i64::try_from(offset).map_err(|_| misplaced())?;
    let address = GuestAddress(gpa);
    let region = memory.find_region(address).ok_or_else(misplaced)?;
    let start = region.to_region_addr(address).ok_or_else(misplaced)?;
    let inside =
        start.raw_value().checked_add(length as u64).is_some_and(|end| end <= region.len());
    if !inside || !gpa.is_multiple_of(PAGE) || !offset.is_multiple_of(PAGE) || length == 0 {
        return Err(misplaced());
    }
    if region.file_offset().is_some() {
        // Whoever shares it would not see what is mapped here alone.
        return Err(Error::Map(io::ErrorKind::Unsupported.into()));
    }
    let host = region.get_host_address(start).map_err(|_| misplaced())?;
    // SAFETY: the range lies within one region's mapping, as just checked, and is page-aligned.
    // That memory is only ever accessed through vm-memory's volatile accessors, which hold no
    // reference across this call, so replacing its pages breaks no one's assumptions.
    let mapped = unsafe {
        libc::mmap(
            host.cast(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_NORESERVE,
            file.as_raw_fd(),
            file_offset,
        )
    };
    if mapped == libc::MAP_FAILED {
        return Err(Error::Map(io::Error::last_os_error()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;
    use vm_memory::{Bytes, MemoryRegionAddress};

    fn allocated(size: &str) -> GuestMemoryMmap {
        allocate(size.parse().unwrap()).unwrap()
    }

    /// Whether the host has provided the page at `gpa`.
    fn provided(memory: &GuestMemoryMmap, gpa: u64) -> bool {
        let host = memory.get_host_address(GuestAddress(gpa)).unwrap();
        let mut there = 0_u8;
        // SAFETY: it is asked for one page, and has room for the one byte that says it.
        assert_eq!(0, unsafe { libc::mincore(host.cast(), 1, &raw mut there) });
        there & 1 == 1
    }

    #[test]
    fn host_and_guest_addresses_are_congruent() {
        // An odd number of pages in between moves where the next mapping would go.
        let spacers: Vec<_> = (0..4).map(|_| Spacer::new(0, 3 * 4096)).collect();
        let all = ["32M", "33M", "5G"].map(allocated);
        for region in all.iter().flat_map(|memory| memory.iter()) {
            let host = region.get_host_address(MemoryRegionAddress(0)).unwrap() as u64;
            assert_eq!(host % (2 << 20), region.start_addr().raw_value() % (2 << 20));
        }
        drop(spacers);
    }

    #[test]
    fn what_is_provided_is_there_and_nothing_else() {
        let memory = allocated("32M");
        provide(&memory, Range { start: 0x1800, end: 0x3001 });
        let there: Vec<_> = (0..5).map(|page| provided(&memory, page * PAGE)).collect();
        assert_eq!(there, [false, true, true, true, false]);
        // Not guest memory: nothing happens.
        provide(&memory, Range { start: 32 << 20, end: 33 << 20 });
        provide(&memory, Range { start: 31 << 20, end: u64::MAX });
        assert!(!provided(&memory, 31 << 20));
    }

    #[test]
    fn shared_memory_is_one_file_that_cannot_be_cut_off() {
        let memory = allocate_shared("5G".parse().unwrap()).unwrap();
        let mut seen = 0;
        for region in memory.iter() {
            let place = region.file_offset().unwrap();
            assert_eq!(place.start(), seen);
            seen += region.len();
            memory.write_obj(0x1234_u16, region.start_addr()).unwrap();
            let mut bytes = [0; 2];
            place.file().read_exact_at(&mut bytes, place.start()).unwrap();
            assert_eq!(u16::from_le_bytes(bytes), 0x1234);
            assert!(place.file().set_len(4096).is_err());
        }
        assert_eq!(seen, 5 << 30);
        // A file is not mapped over a part of it.
        let file = tempfile::tempfile().unwrap();
        file.set_len(PAGE).unwrap();
        assert!(matches!(map_file(&memory, 0, &file, 0, PAGE), Err(Error::Map(_))));
    }

    #[test]
    fn memory_and_its_hole_must_have_addresses() {
        let fits = |size: &str, bits| check(size.parse().unwrap(), bits).is_ok();
        assert!(fits("63G", 36) && !fits("64G", 36));
        assert!(fits("1P", 52) && !fits("1P", 46));
        assert!(fits("15P", 64), "no shift goes wrong on a processor that claims 64 bits");
    }
}
