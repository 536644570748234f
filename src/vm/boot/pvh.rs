//! The start info of Xen's PVH ABI (xen/include/public/arch-x86/hvm/start_info.h), version 1:
//! what a kernel that is entered by PVH finds through EBX.

use linux_loader::loader::start_info::{hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info};
use vm_memory::{Bytes, GuestAddress, GuestMemoryError, GuestMemoryMmap};

use super::plan::Plan;
use crate::vm::layout::{self, ACPI_TABLES, CMDLINE, PVH_INFO};

/// XEN_HVM_START_MAGIC_VALUE.
const MAGIC: u32 = 0x336E_C578;
/// The module list follows the start info, the memory map follows the module list.
const MODULES: u64 = PVH_INFO.start + 0x40;
const MEMORY_MAP: u64 = PVH_INFO.start + 0x80;
const _: () =
    assert!(size_of::<hvm_start_info>() <= 0x40 && size_of::<hvm_modlist_entry>() <= 0x40);

/// Writes start info, module list and memory map.
///
/// # Errors
/// Only where guest memory is smaller than the plan said.
pub fn write(memory: &GuestMemoryMmap, plan: &Plan) -> Result<(), GuestMemoryError> {
    let map = layout::e820(plan.memory.bytes());
    let start_info = hvm_start_info {
        magic: MAGIC,
        version: 1,
        nr_modules: u32::from(plan.initrd.is_some()),
        modlist_paddr: MODULES,
        cmdline_paddr: CMDLINE.start,
        rsdp_paddr: ACPI_TABLES.start,
        memmap_paddr: MEMORY_MAP,
        memmap_entries: u32::try_from(map.len()).unwrap_or(0),
        ..Default::default()
    };
    memory.write_obj(start_info, GuestAddress(PVH_INFO.start))?;
    if let Some(initrd) = &plan.initrd {
        let (paddr, size) = (initrd.gpa.start, initrd.gpa.size());
        let module = hvm_modlist_entry { paddr, size, ..Default::default() };
        memory.write_obj(module, GuestAddress(MODULES))?;
    }
    let entry_size = size_of::<hvm_memmap_table_entry>() as u64;
    for (index, (range, kind)) in (0..).zip(map) {
        let entry = hvm_memmap_table_entry {
            addr: range.start,
            size: range.size(),
            // The PVH types are e820's.
            type_: kind as u32,
            reserved: 0,
        };
        memory.write_obj(entry, GuestAddress(MEMORY_MAP + index * entry_size))?;
    }
    Ok(())
}
