//! What a step did, in words: one fact a line.

use super::happened::width;
use super::names;
use super::steps::{Left, Registers, Step};
use super::walk::Walk;
use crate::trace::devices::DeviceMap;
use crate::trace::event::Access;

const VM86: u64 = 1 << 17;
/// More words of memory than these are only counted.
const SHOWN_WORDS: usize = 6;

/// All facts of a step but for its exits, the most important first.
pub(super) fn facts(step: &Step) -> Vec<String> {
    let mut facts = Vec::new();
    facts.extend(event(step));
    facts.extend(general(step));
    facts.extend(cpuid(step));
    facts.extend(control(step));
    facts.extend(segments(step));
    facts.extend(mode(step));
    facts.extend(tables(step));
    facts.extend(apic(step));
    facts.extend(stored(step));
    facts
}

/// An exit to duplex, on a machine with these devices.
pub(super) fn left(left: &Left, devices: &DeviceMap) -> String {
    let place = |is_port, address, access| names::place(devices, is_port, address, access);
    match left {
        Left::PortIn { port, data } => {
            let place = place(true, u64::from(*port), Access::Read);
            format!("in from port {port:#x} ({place}): duplex gives {}", bytes(data))
        }
        Left::PortOut { port, data } => {
            let place = place(true, u64::from(*port), Access::Write);
            format!("out to port {port:#x} ({place}): {}", bytes(data))
        }
        Left::MmioRead { gpa, data } => {
            let place = place(false, *gpa, Access::Read);
            format!("load from {gpa:#x} ({place}): duplex gives {}", bytes(data))
        }
        Left::MmioWrite { gpa, data } => {
            let place = place(false, *gpa, Access::Write);
            format!("store to {gpa:#x} ({place}): {}", bytes(data))
        }
        Left::Halt => "halted: KVM_EXIT_HLT".into(),
        Left::Shutdown => "the processor has given up: KVM_EXIT_SHUTDOWN".into(),
        Left::InternalError => {
            "KVM cannot execute this instruction: KVM_EXIT_INTERNAL_ERROR".into()
        }
    }
}

/// A value of up to 8 bytes, with the characters where it is text.
fn bytes(data: &[u8]) -> String {
    let value = data.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    let is_text = |byte: &u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\n');
    if !data.is_empty() && data.iter().all(is_text) {
        format!("{value:#x} {:?}", String::from_utf8_lossy(data))
    } else {
        format!("{value:#x}")
    }
}

fn event(step: &Step) -> Option<String> {
    let Some(delivered) = step.delivered else {
        return step.slept.then(|| "halted: KVM has kept it, without an exit".into());
    };
    let vector = delivered.vector;
    let what = match names::exception(vector) {
        Some(name) => format!("exception {vector} ({name})"),
        None => format!("interrupt {vector:#x}"),
    };
    let what = if step.slept { format!("slept in KVM, until {what}") } else { what };
    // Where KVM cannot stop user mode, all that it did belongs to the step that has led there.
    let unseen = delivered.from_user && step.before.system.ss.dpl == 0;
    let what = if unseen {
        format!("user mode, which KVM does not step here, until {what}")
    } else {
        what
    };
    Some(match delivered.error_code {
        Some(code) if vector == 14 => {
            let bits = [
                if code & 1 == 0 { "no page" } else { "not allowed" },
                if code & 2 == 0 { "read" } else { "write" },
                if code & 4 == 0 { "by the kernel" } else { "by user mode" },
            ];
            format!("{what}, error code {code:#x} ({})", bits.join(", "))
        }
        Some(code) => format!("{what}, error code {code:#x}"),
        None => what,
    })
}

fn general(step: &Step) -> Option<String> {
    let (before, after) = (&step.before.general, &step.after.general);
    let pairs = [
        ("ax", before.rax, after.rax),
        ("bx", before.rbx, after.rbx),
        ("cx", before.rcx, after.rcx),
        ("dx", before.rdx, after.rdx),
        ("si", before.rsi, after.rsi),
        ("di", before.rdi, after.rdi),
        ("bp", before.rbp, after.rbp),
        ("sp", before.rsp, after.rsp),
        ("8", before.r8, after.r8),
        ("9", before.r9, after.r9),
        ("10", before.r10, after.r10),
        ("11", before.r11, after.r11),
        ("12", before.r12, after.r12),
        ("13", before.r13, after.r13),
        ("14", before.r14, after.r14),
        ("15", before.r15, after.r15),
    ];
    let size = width(&step.before);
    let mut facts: Vec<String> = pairs
        .into_iter()
        .filter(|(_, before, after)| before != after)
        .map(|(name, before, after)| register(name, before, after, size))
        .collect();
    let flags = changed_bits(before.rflags, after.rflags, &names::FLAGS);
    facts.extend((!flags.is_empty()).then(|| format!("flags {flags}")));
    (!facts.is_empty()).then(|| facts.join(", "))
}

/// A register under the name of the part that has changed.
fn register(name: &str, before: u64, after: u64, size: usize) -> String {
    let changed = before ^ after;
    let wide = |value: u64| format!("r{name} = {value:#x}");
    if size == 8 || changed >> 32 != 0 {
        wide(after)
    } else if size == 4 || changed >> 16 != 0 {
        format!("e{name} = {:#x}", after & 0xFFFF_FFFF)
    } else {
        format!("{name} = {:#x}", after & 0xFFFF)
    }
}

fn changed_bits(before: u64, after: u64, names: &[(u32, &str)]) -> String {
    let changed = names.iter().filter(|(bit, _)| (before ^ after) >> bit & 1 != 0);
    let signed = changed
        .map(|(bit, name)| format!("{}{name}", if after >> bit & 1 != 0 { "+" } else { "-" }));
    signed.collect::<Vec<_>>().join(" ")
}

/// What the guest is told otherwise than the host would be.
fn cpuid(step: &Step) -> Option<String> {
    let host = step.host_cpuid?;
    let after = &step.after.general;
    let guest = [after.rax, after.rbx, after.rcx, after.rdx];
    let names = ["eax", "ebx", "ecx", "edx"];
    let differences: Vec<String> = names
        .iter()
        .zip(guest.into_iter().zip(host))
        .filter(|(_, (guest, host))| *guest != u64::from(*host))
        .map(|(name, (_, host))| format!("{name} = {host:#x}"))
        .collect();
    Some(match differences.as_slice() {
        [] => "the host's processor says the same".into(),
        _ => format!("the host's processor says {}", differences.join(", ")),
    })
}

fn control(step: &Step) -> Vec<String> {
    let (before, after) = (&step.before.system, &step.after.system);
    let mut facts = Vec::new();
    for (name, old, new, bits) in [
        ("CR0", before.cr0, after.cr0, &names::CR0[..]),
        ("CR4", before.cr4, after.cr4, &names::CR4[..]),
        ("EFER", before.efer, after.efer, &names::EFER[..]),
    ] {
        if old != new {
            facts.push(format!("{name} = {new:#x}: {}", changed_bits(old, new, bits)));
        }
    }
    if before.cr2 != after.cr2 {
        facts.push(format!("CR2 = {:#x}: the address that was wanted", after.cr2));
    }
    if before.cr3 != after.cr3 {
        facts.push(format!("CR3 = {:#x}: where the page tables begin", after.cr3));
    }
    facts.extend(step.walk.as_ref().map(path));
    facts
}

/// A walk through the page tables.
fn path(walk: &Walk) -> String {
    let entries = walk
        .visited
        .iter()
        .map(|visited| format!("{}[{}] = {:#x}", visited.table, visited.index, visited.entry));
    let end = match walk.gpa {
        Some(gpa) => format!("GPA {gpa:#x}"),
        None => "not present".into(),
    };
    let mut path: Vec<String> = entries.collect();
    path.push(end);
    format!("page tables: {}", path.join(" → "))
}

fn segments(step: &Step) -> Option<String> {
    let (before, after) = (&step.before.system, &step.after.system);
    let pairs = [
        ("CS", &before.cs, &after.cs),
        ("DS", &before.ds, &after.ds),
        ("ES", &before.es, &after.es),
        ("FS", &before.fs, &after.fs),
        ("GS", &before.gs, &after.gs),
        ("SS", &before.ss, &after.ss),
    ];
    let changed = pairs.iter().filter(|(_, old, new)| {
        (old.selector, old.base, old.limit) != (new.selector, new.base, new.limit)
    });
    let facts: Vec<String> = changed
        .map(|(name, _, new)| {
            let (selector, base) = (new.selector, new.base);
            format!("{name} = {selector:#x}, base {base:#x}, limit {:#x}", new.limit)
        })
        .collect();
    (!facts.is_empty()).then(|| facts.join("; "))
}

/// The mode that the processor is in, where that has changed.
fn mode(step: &Step) -> Vec<String> {
    let (before, after) = (mode_of(&step.before), mode_of(&step.after));
    let mut facts = Vec::new();
    if before != after {
        facts.push(format!("now in {after}"));
    }
    let level = |registers: &Registers| registers.system.ss.dpl;
    let (old, new) = (level(&step.before), level(&step.after));
    if old != new && step.after.are_protected() {
        facts.push(format!("privilege level {old} → {new}"));
    }
    facts
}

/// The mode's name.
pub(super) fn mode_of(registers: &Registers) -> &'static str {
    let (long, pages) = (registers.are_long(), registers.have_paging());
    match (width(registers), registers.are_protected()) {
        (_, false) => "real mode",
        (8, _) => "long mode, 64-bit code",
        (4, _) if long => "long mode, 32-bit code",
        (_, _) if long => "long mode, 16-bit code",
        _ if registers.general.rflags & VM86 != 0 => "virtual 8086 mode",
        (4, _) if pages => "protected mode with paging, 32-bit code",
        (4, _) => "protected mode, 32-bit code",
        _ => "protected mode, 16-bit code",
    }
}

fn tables(step: &Step) -> Vec<String> {
    let (before, after) = (&step.before.system, &step.after.system);
    let pairs = [
        ("GDT", &before.gdt, &after.gdt, "segments"),
        ("IDT", &before.idt, &after.idt, "interrupts"),
    ];
    let changed =
        pairs.iter().filter(|(_, old, new, _)| (old.base, old.limit) != (new.base, new.limit));
    changed
        .map(|(name, _, new, what)| {
            format!("{name}: the table of {what} is at {:#x}, limit {:#x}", new.base, new.limit)
        })
        .collect()
}

fn apic(step: &Step) -> Vec<String> {
    let writes = step.apic.iter().map(|write| {
        let name = names::apic(write.offset);
        format!("local APIC, in KVM: {name} ({:#x}) = {:#x}", write.offset, write.value)
    });
    writes.collect()
}

fn stored(step: &Step) -> Option<String> {
    let words = step.stored.iter().take(SHOWN_WORDS);
    let mut facts: Vec<String> =
        words.map(|word| format!("[{:#x}] = {:#x}", word.gpa, word.value)).collect();
    if step.stored.len() > SHOWN_WORDS {
        facts.push(format!("and {} words more", step.stored.len() - SHOWN_WORDS));
    }
    (!facts.is_empty()).then(|| format!("memory {}", facts.join(", ")))
}
