//! The zero page, `struct boot_params` (Linux, Documentation/arch/x86/zero-page.rst): what a boot
//! loader tells a kernel that is entered by the 64-bit boot protocol.

use linux_loader::bootparam::{boot_e820_entry, boot_params, setup_header};
use vm_memory::{Bytes, GuestAddress, GuestMemoryError, GuestMemoryMmap};

use super::plan::Plan;
use crate::vm::layout::{self, ACPI_TABLES, CMDLINE, ZERO_PAGE};

const BOOT_FLAG: u16 = 0xAA55;
/// "HdrS".
const HEADER_MAGIC: u32 = 0x5372_6448;
/// type_of_loader: a boot loader without a number of its own.
const LOADER_UNDEFINED: u8 = 0xFF;
/// The least alignment that a relocatable x86-64 kernel may ask for.
const KERNEL_ALIGNMENT: u32 = 0x20_0000;

/// Writes the zero page.
///
/// # Errors
/// Only where guest memory is smaller than the plan said.
pub fn write(memory: &GuestMemoryMmap, plan: &Plan) -> Result<(), GuestMemoryError> {
    let mut params = boot_params {
        hdr: plan.setup_header.unwrap_or_else(elf_header),
        acpi_rsdp_addr: ACPI_TABLES.start,
        ..Default::default()
    };
    params.hdr.type_of_loader = LOADER_UNDEFINED;
    params.hdr.cmd_line_ptr = low(CMDLINE.start);
    if let Some(initrd) = &plan.initrd {
        params.hdr.ramdisk_image = low(initrd.gpa.start);
        params.hdr.ramdisk_size = low(initrd.gpa.size());
    }
    let map = layout::e820(plan.memory.bytes());
    for (slot, (range, kind)) in params.e820_table.iter_mut().zip(&map) {
        *slot = boot_e820_entry { addr: range.start, size: range.size(), r#type: *kind as u32 };
        params.e820_entries += 1;
    }
    memory.write_obj(params, GuestAddress(ZERO_PAGE.start))
}

/// What a kernel that came as ELF, without a setup header, still reads from it.
fn elf_header() -> setup_header {
    setup_header {
        boot_flag: BOOT_FLAG,
        header: HEADER_MAGIC,
        kernel_alignment: KERNEL_ALIGNMENT,
        cmdline_size: low(CMDLINE.size() - 1),
        ..Default::default()
    }
}

/// Everything that the zero page names lies below 4 GiB, as the layout and the plan see to.
fn low(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
