//! Guest memory: allocated on first touch, and files mapped into it without a copy.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use thiserror::Error;
use vm_memory::{
    Address, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion,
    MemoryRegionAddress,
};

use super::layout::{self, GIB, MMIO_HOLE, PAGE};
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
    let failed = |reason: String| Error::Allocate(size, reason);
    let ranges = layout::ram(size.bytes())
        .into_iter()
        .map(|range| Ok((GuestAddress(range.start), usize::try_from(range.size())?)))
        .collect::<Result<Vec<_>, std::num::TryFromIntError>>()
        .map_err(|error| failed(error.to_string()))?;
    GuestMemoryMmap::from_ranges(&ranges).map_err(|error| failed(error.to_string()))
}

/// Shows the memory to a VM, a KVM slot a region.
///
/// # Errors
/// KVM's, with the region.
pub fn register(vm: &VmFd, memory: &GuestMemoryMmap) -> Result<(), Error> {
    for (slot, region) in (0..).zip(memory.iter()) {
        let start = region.start_addr().raw_value();
        let host = region.get_host_address(MemoryRegionAddress(0));
        let description = kvm_userspace_memory_region {
            slot,
            guest_phys_addr: start,
            memory_size: region.len(),
            userspace_addr: host.map_or(0, |pointer| pointer as u64),
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
/// cannot map.
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

    #[test]
    fn memory_and_its_hole_must_have_addresses() {
        let fits = |size: &str, bits| check(size.parse().unwrap(), bits).is_ok();
        assert!(fits("63G", 36) && !fits("64G", 36));
        assert!(fits("1P", 52) && !fits("1P", 46));
        assert!(fits("15P", 64), "no shift goes wrong on a processor that claims 64 bits");
    }
}
