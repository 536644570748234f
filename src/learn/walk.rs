//! The way from a linear address to a guest-physical one, as the processor takes it.

use super::steps::Registers;

const CR4_PAE: u64 = 1 << 5;
const CR4_LARGE_PAGES: u64 = 1 << 4;
const PRESENT: u64 = 1 << 0;
const USER: u64 = 1 << 2;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;

/// A table entry that a walk has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visited {
    /// The table's name.
    pub table: &'static str,
    /// Which entry.
    pub index: u64,
    /// What it holds.
    pub entry: u64,
}

/// A walk through the page tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    /// The entries on the way.
    pub visited: Vec<Visited>,
    /// Where it leads; `None` where an entry is not present.
    pub gpa: Option<u64>,
    /// Whether user mode may go there, too.
    pub user: bool,
}

/// Walks; without paging an address is its own translation.
pub(super) fn walk(memory: &[u8], registers: &Registers, address: u64) -> Walk {
    let system = &registers.system;
    if !registers.have_paging() {
        return Walk { visited: Vec::new(), gpa: Some(address & 0xFFFF_FFFF), user: true };
    }
    let long = registers.are_long();
    let pae = system.cr4 & CR4_PAE != 0;
    // Name, lowest bit and number of bits of the index, bytes of an entry.
    let levels: &[(&str, u32, u32)] = match (long, pae) {
        (true, _) => &[("PML4", 39, 9), ("PDPT", 30, 9), ("PD", 21, 9), ("PT", 12, 9)],
        (false, true) => &[("PDPT", 30, 2), ("PD", 21, 9), ("PT", 12, 9)],
        (false, false) => &[("PD", 22, 10), ("PT", 12, 10)],
    };
    let wide = long || pae;
    let mut table = if long || !pae { system.cr3 & ADDRESS } else { system.cr3 & !0x1F };
    let mut walk = Walk { visited: Vec::new(), gpa: None, user: true };
    for (name, shift, bits) in levels {
        let index = address >> shift & ((1 << bits) - 1);
        let entry = read(memory, table, index, wide);
        walk.visited.push(Visited { table: name, index, entry });
        if entry & PRESENT == 0 {
            return walk;
        }
        // The PDPT of 32-bit mode has no such bit.
        if long || *name != "PDPT" {
            walk.user &= entry & USER != 0;
        }
        let is_large = entry & LARGE != 0
            && (*name == "PD" && (wide || system.cr4 & CR4_LARGE_PAGES != 0)
                || long && *name == "PDPT");
        if is_large || *name == "PT" {
            let mask = (1_u64 << shift) - 1;
            walk.gpa = Some(entry & ADDRESS & !mask | address & mask);
            return walk;
        }
        table = entry & ADDRESS;
    }
    walk
}

fn read(memory: &[u8], table: u64, index: u64, wide: bool) -> u64 {
    let size = if wide { 8 } else { 4 };
    let start = usize::try_from(table.saturating_add(index * size)).unwrap_or(usize::MAX);
    let end = start.saturating_add(if wide { 8 } else { 4 });
    let mut entry = [0; 8];
    for (byte, stored) in entry.iter_mut().zip(memory.get(start..end).unwrap_or_default()) {
        *byte = *stored;
    }
    u64::from_le_bytes(entry)
}
