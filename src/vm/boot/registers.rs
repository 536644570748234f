//! The bootstrap processor's first registers: real mode for lesson guests, flat protected mode for
//! PVH, long mode with the first 4 GiB mapped one to one for the 64-bit Linux boot protocol.

use kvm_bindings::{kvm_regs, kvm_segment, kvm_sregs};
use vm_memory::{Bytes, GuestAddress, GuestMemoryError, GuestMemoryMmap};

use super::plan::Entry;
use crate::vm::layout::{FIRST_MAPPED, GDT, GIB, PAGE, PAGE_TABLES, PVH_INFO, ZERO_PAGE};

// Control register bits (Intel SDM vol. 3, section 2.5; AMD APM vol. 2, chapter 3).
const CR0_PE: u64 = 1 << 0;
const CR0_ET: u64 = 1 << 4;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
/// RFLAGS bit 1 is always one.
const RFLAGS_RESERVED: u64 = 1 << 1;

const PTE_PRESENT: u64 = 1 << 0;
const PTE_WRITABLE: u64 = 1 << 1;
const PTE_HUGE: u64 = 1 << 7;
const ENTRIES_PER_TABLE: u64 = 512;
const HUGE_PAGE: u64 = 2 << 20;
const MAPPED_GIB: u64 = FIRST_MAPPED / GIB;
const _: () = assert!(PAGE_TABLES.size() == (2 + MAPPED_GIB) * PAGE);

// Descriptor types (Intel SDM vol. 3, section 3.4.5.1 and table 3-2).
const CODE_READ_ACCESSED: u8 = 0xB;
const DATA_WRITE_ACCESSED: u8 = 0x3;
const TSS_BUSY: u8 = 0xB;

/// Selectors: Linux names 0x10 and 0x18 `__BOOT_CS` and `__BOOT_DS` and reloads them.
const CODE_SELECTOR: u16 = 0x10;
const DATA_SELECTOR: u16 = 0x18;
const TSS_SELECTOR: u16 = 0x20;

/// Writes what the registers point to: the GDT and, for long mode, the page tables.
///
/// # Errors
/// Only where guest memory is smaller than the layout says.
pub fn write_tables(memory: &GuestMemoryMmap, entry: Entry) -> Result<(), GuestMemoryError> {
    let long = matches!(entry, Entry::Linux64(_));
    let table = [0, 0, descriptor(&code(long)), descriptor(&data()), descriptor(&tss()), 0];
    for (index, descriptor) in (0..).zip(table) {
        memory.write_obj::<u64>(descriptor, GuestAddress(GDT.start + index * 8))?;
    }
    if long { write_page_tables(memory) } else { Ok(()) }
}

fn write_page_tables(memory: &GuestMemoryMmap) -> Result<(), GuestMemoryError> {
    let (pml4, pdpt) = (PAGE_TABLES.start, PAGE_TABLES.start + PAGE);
    let flags = PTE_PRESENT | PTE_WRITABLE;
    memory.write_obj(pdpt | flags, GuestAddress(pml4))?;
    for gib in 0..MAPPED_GIB {
        let directory = pdpt + (1 + gib) * PAGE;
        memory.write_obj(directory | flags, GuestAddress(pdpt + gib * 8))?;
        let entries: Vec<u8> = (0..ENTRIES_PER_TABLE)
            .map(|entry| (gib * ENTRIES_PER_TABLE + entry) * HUGE_PAGE)
            .flat_map(|address| (address | flags | PTE_HUGE).to_le_bytes())
            .collect();
        memory.write_slice(&entries, GuestAddress(directory))?;
    }
    Ok(())
}

/// The general registers at entry.
pub fn general(entry: Entry) -> kvm_regs {
    let regs = kvm_regs { rflags: RFLAGS_RESERVED, ..Default::default() };
    match entry {
        Entry::Real(ip) => kvm_regs { rip: ip.into(), ..regs },
        Entry::Pvh(rip) => kvm_regs { rip: rip.into(), rbx: PVH_INFO.start, ..regs },
        Entry::Linux64(rip) => kvm_regs { rip, rsi: ZERO_PAGE.start, ..regs },
    }
}

/// Turns a processor's reset state into the state at entry.
pub fn system(entry: Entry, mut sregs: kvm_sregs) -> kvm_sregs {
    if let Entry::Real(_) = entry {
        // The reset state already is real mode; only CS points to the firmware.
        (sregs.cs.selector, sregs.cs.base) = (0, 0);
        return sregs;
    }
    let long = matches!(entry, Entry::Linux64(_));
    sregs.cs = code(long);
    for segment in [&mut sregs.ds, &mut sregs.es, &mut sregs.fs, &mut sregs.gs, &mut sregs.ss] {
        *segment = data();
    }
    sregs.tr = tss();
    sregs.gdt.base = GDT.start;
    sregs.gdt.limit = u16::try_from(GDT.size() - 1).unwrap_or(0);
    sregs.idt.base = 0;
    sregs.idt.limit = 0;
    sregs.cr0 = CR0_PE | CR0_ET;
    sregs.cr4 = 0;
    sregs.efer = 0;
    if long {
        sregs.cr0 |= CR0_PG;
        sregs.cr3 = PAGE_TABLES.start;
        sregs.cr4 |= CR4_PAE;
        sregs.efer |= EFER_LME | EFER_LMA;
    }
    sregs
}

fn code(long: bool) -> kvm_segment {
    // In long mode L takes the place of D (Intel SDM vol. 3, section 3.4.5).
    flat(CODE_SELECTOR, CODE_READ_ACCESSED, !long, long)
}

fn data() -> kvm_segment {
    flat(DATA_SELECTOR, DATA_WRITE_ACCESSED, true, false)
}

fn flat(selector: u16, kind: u8, default_32: bool, long: bool) -> kvm_segment {
    kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector,
        type_: kind,
        present: 1,
        dpl: 0,
        db: default_32.into(),
        s: 1,
        l: long.into(),
        g: 1,
        ..Default::default()
    }
}

/// A task state segment must be there; nothing uses it.
fn tss() -> kvm_segment {
    kvm_segment {
        limit: 0x67,
        selector: TSS_SELECTOR,
        type_: TSS_BUSY,
        present: 1,
        ..Default::default()
    }
}

/// A segment as an entry of the GDT (Intel SDM vol. 3, figure 3-8). TSS descriptors have 16 bytes
/// in long mode; the upper half, the base's upper bits, is zero here.
fn descriptor(segment: &kvm_segment) -> u64 {
    let limit = if segment.g == 1 { segment.limit >> 12 } else { segment.limit };
    let (base, limit) = (segment.base, u64::from(limit));
    let access =
        u64::from(segment.type_ | segment.s << 4 | segment.dpl << 5 | segment.present << 7);
    let flags = u64::from(segment.avl | segment.l << 1 | segment.db << 2 | segment.g << 3);
    limit & 0xFFFF
        | (base & 0xFF_FFFF) << 16
        | access << 40
        | (limit >> 16 & 0xF) << 48
        | flags << 52
        | (base >> 24 & 0xFF) << 56
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_encoded_as_the_manuals_say() {
        assert_eq!(descriptor(&code(false)), 0x00CF_9B00_0000_FFFF);
        assert_eq!(descriptor(&code(true)), 0x00AF_9B00_0000_FFFF);
        assert_eq!(descriptor(&data()), 0x00CF_9300_0000_FFFF);
        assert_eq!(descriptor(&tss()), 0x0000_8B00_0000_0067);
    }
}
