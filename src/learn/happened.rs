//! What a step has changed, found by comparing what was before with what is after.

use super::steps::{ApicWrite, Registers, Stored};
use super::walk::{Walk, walk};

/// Accessed and dirty: a processor sets them in page tables as it goes.
const PAGING_MARKS: u64 = 1 << 5 | 1 << 6;
/// Present, in an entry of a page table.
const PRESENT: u64 = 1 << 0;
/// Accessed, in a segment's descriptor.
const SEGMENT_MARK: u64 = 1 << 40;
/// The timer's current count changes all the time.
const APIC_CURRENT_COUNT: usize = 0x390;
const PAGE: usize = 4096;

/// The words of memory that are no longer what they were, without the marks that a processor leaves in
/// tables: a word is as wide as the code's mode.
pub(super) fn stored(before: &[u8], after: &[u8], registers: &Registers) -> Vec<Stored> {
    let size = width(registers);
    let mut stored = Vec::new();
    for (page, (old, new)) in before.chunks(PAGE).zip(after.chunks(PAGE)).enumerate() {
        if old == new {
            continue;
        }
        for (index, (old, new)) in old.chunks(8).zip(new.chunks(8)).enumerate() {
            let at = u64::try_from(page * PAGE + index * 8).unwrap_or(0);
            if is_mark(at, word(old), word(new), registers) {
                continue;
            }
            for (part, (old, new)) in old.chunks(size).zip(new.chunks(size)).enumerate() {
                let gpa = u64::try_from(page * PAGE + index * 8 + part * size).unwrap_or(0);
                if old != new {
                    stored.push(Stored { gpa, value: word(new), before: word(old), size });
                }
            }
        }
    }
    stored
}

/// Whether a word has only got marks that a processor leaves: in an entry of a page table that is present, while
/// paging is on, or in a descriptor of the GDT.
fn is_mark(at: u64, old: u64, new: u64, registers: &Registers) -> bool {
    let (marks, system) = (old ^ new, &registers.system);
    let only_set = marks & new == marks;
    let in_table = registers.have_paging() && old & PRESENT != 0;
    let gdt = system.gdt.base..=system.gdt.base.saturating_add(system.gdt.limit.into());
    only_set
        && (in_table && marks & !PAGING_MARKS == 0 || gdt.contains(&at) && marks == SEGMENT_MARK)
}

/// The walk that a step is about: to the address that a page fault has put into CR2, or to the next
/// instruction where paging was switched on.
pub(super) fn walked(memory: &[u8], before: &Registers, after: &Registers) -> Option<Walk> {
    let (old, new) = (&before.system, &after.system);
    if old.cr2 != new.cr2 {
        Some(walk(memory, before, new.cr2))
    } else if !before.have_paging() && after.have_paging() {
        Some(walk(memory, after, new.cs.base.wrapping_add(after.general.rip)))
    } else {
        None
    }
}

/// The width of a word for the code that runs, in bytes.
pub(super) fn width(registers: &Registers) -> usize {
    let system = &registers.system;
    match () {
        () if system.cs.l == 1 && registers.are_long() => 8,
        () if system.cs.db == 1 => 4,
        () => 2,
    }
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// The registers of the local APIC that are no longer what they were.
pub(super) fn apic(before: &[u8], after: &[u8]) -> Vec<ApicWrite> {
    // A register has 4 bytes and a place of 16.
    let registers = before.chunks(16).zip(after.chunks(16)).enumerate();
    registers
        .map(|(index, (before, after))| (index * 16, before, after))
        .filter(|(offset, before, after)| before != after && *offset != APIC_CURRENT_COUNT)
        .filter_map(|(offset, _, after)| {
            let value = u32::from_le_bytes(after.get(..4)?.try_into().ok()?);
            Some(ApicWrite { offset, value })
        })
        .collect()
}

/// An interrupt or exception that the processor has begun to deal with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    pub vector: u8,
    /// Where on the stack the flags are that its handler will return with.
    pub flags: u64,
    /// What it says beside the vector, for exceptions that say more.
    pub error_code: Option<u64>,
    /// It came out of user mode.
    pub from_user: bool,
}

/// What was delivered in a step, if anything. It shows by what it leaves: RIP is where a gate leads, and the
/// stack holds the place to go back to.
pub(super) fn delivered(memory: &[u8], before: &Registers, after: &Registers) -> Option<Delivered> {
    let system = &after.system;
    let real = !after.are_protected();
    let long = after.are_long();
    let size = if real {
        2
    } else if long {
        8
    } else {
        4
    };
    let here = system.cs.base.wrapping_add(after.general.rip);
    let (vector, _) = handlers(memory, after).find(|(_, address)| *address == here)?;
    let has_code = !real && matches!(vector, 8 | 10..=14 | 17 | 21 | 29 | 30);
    let stack = walk(memory, after, system.ss.base.wrapping_add(after.general.rsp)).gpa?;
    let error_code = if has_code { read(memory, stack, size) } else { None };
    // RIP, CS and flags.
    let frame = stack.checked_add(u64::from(has_code) * size)?;
    let old_cs = read(memory, frame.checked_add(size)?, size)?;
    let from_user = !real && old_cs & 3 == 3;
    let flags = frame.checked_add(2 * size)?;
    // Where user mode ran in between the stack may begin at the same place again.
    let came_far = before.general.rsp != after.general.rsp;
    let is_frame = from_user || came_far && old_cs == u64::from(before.system.cs.selector);
    is_frame.then_some(Delivered { vector, flags, error_code, from_user })
}

/// The gates of the interrupt table: vectors and the linear addresses of their handlers.
pub(super) fn handlers<'a>(
    memory: &'a [u8],
    registers: &'a Registers,
) -> impl Iterator<Item = (u8, u64)> + 'a {
    let system = &registers.system;
    let real = !registers.are_protected();
    let long = registers.are_long();
    let gate = if real {
        4
    } else if long {
        16
    } else {
        8
    };
    let vectors = (0..=255_u8)
        .take_while(move |vector| (u64::from(*vector) + 1) * gate - 1 <= system.idt.limit.into());
    vectors.filter_map(move |vector| {
        let address = system.idt.base.wrapping_add(u64::from(vector) * gate);
        let gpa = walk(memory, registers, address).gpa?;
        entry(memory, gpa, real, long).filter(|handler| *handler != 0).map(|at| (vector, at))
    })
}

/// Where a gate of the interrupt table leads; `None` where it is none.
fn entry(memory: &[u8], gpa: u64, real: bool, long: bool) -> Option<u64> {
    if real {
        let (offset, segment) = (read(memory, gpa, 2)?, read(memory, gpa.checked_add(2)?, 2)?);
        return Some((segment << 4) + offset);
    }
    const GATE_PRESENT: u64 = 1 << 47;
    let low = read(memory, gpa, 8)?;
    if low & GATE_PRESENT == 0 {
        return None;
    }
    let offset = low & 0xFFFF | low >> 32 & 0xFFFF_0000;
    let high = if long { read(memory, gpa.checked_add(8)?, 4)? } else { 0 };
    Some(offset | high << 32)
}

pub(super) fn read(memory: &[u8], gpa: u64, size: u64) -> Option<u64> {
    let start = usize::try_from(gpa).ok()?;
    let end = start.checked_add(usize::try_from(size).ok()?)?;
    memory.get(start..end).map(word)
}
