//! Names of what a lesson's guest can reach: device registers, exceptions, bits.

use crate::trace::devices::DeviceMap;
use crate::trace::event::Access;
use crate::vm::layout::LOCAL_APIC;

/// What answers at a port or a guest-physical address, as traces call it.
pub(super) fn place(devices: &DeviceMap, is_port: bool, address: u64, access: Access) -> String {
    if let Some((device, offset)) = devices.find(is_port, address) {
        let register = device.register(offset, access).unwrap_or("no register");
        return format!("{}: {register}", device.name);
    }
    let of_apic = !is_port && (LOCAL_APIC.start..LOCAL_APIC.end).contains(&address);
    if of_apic { "where the local APIC would be" } else { "nothing is here" }.into()
}

/// A register of the local APIC (Intel SDM vol. 3, table 11-1).
pub(super) fn apic(offset: usize) -> &'static str {
    match offset {
        0x080 => "task priority",
        0x0B0 => "end of interrupt",
        0x0D0 => "logical destination",
        0x0F0 => "spurious vector and enable",
        0x100..0x180 => "in service",
        0x180..0x200 => "trigger mode",
        0x200..0x280 => "interrupt requested",
        0x280 => "error status",
        0x300 => "interrupt command",
        0x310 => "interrupt command, destination",
        0x320 => "timer's vector",
        0x330 => "thermal sensor's vector",
        0x340 => "performance counters' vector",
        0x350 => "LINT0",
        0x360 => "LINT1",
        0x370 => "error's vector",
        0x380 => "timer's initial count",
        0x3E0 => "timer's divisor",
        _ => "register",
    }
}

/// An exception's name (Intel SDM vol. 3, table 6-1).
pub(super) fn exception(vector: u8) -> Option<&'static str> {
    Some(match vector {
        0 => "#DE, divide error",
        1 => "#DB, debug",
        3 => "#BP, breakpoint",
        4 => "#OF, overflow",
        5 => "#BR, bound range",
        6 => "#UD, invalid opcode",
        7 => "#NM, no FPU",
        8 => "#DF, double fault",
        10 => "#TS, invalid TSS",
        11 => "#NP, segment not present",
        12 => "#SS, stack fault",
        13 => "#GP, general protection",
        14 => "#PF, page fault",
        16 => "#MF, floating point",
        17 => "#AC, alignment",
        18 => "#MC, machine check",
        19 => "#XM, SIMD",
        _ => return None,
    })
}

/// Bits of CR0, CR4 and EFER that matter here.
pub(super) const CR0: [(u32, &str); 4] = [(0, "PE"), (16, "WP"), (30, "CD"), (31, "PG")];
pub(super) const CR4: [(u32, &str); 4] = [(4, "PSE"), (5, "PAE"), (7, "PGE"), (9, "OSFXSR")];
pub(super) const EFER: [(u32, &str); 4] = [(0, "SCE"), (8, "LME"), (10, "LMA"), (11, "NXE")];
/// Flags that instructions set for others to look at.
pub(super) const FLAGS: [(u32, &str); 5] = [(0, "CF"), (6, "ZF"), (7, "SF"), (9, "IF"), (10, "DF")];
