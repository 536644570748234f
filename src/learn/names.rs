//! Names of what a lesson's guest can reach: device registers, exceptions, bits.

use crate::vm::layout::{COM1, LOCAL_APIC, PM1_CONTROL, VIRTIO, VIRTIO_SLOT_SIZE};

/// What answers at a port.
pub(super) fn port(port: u16) -> &'static str {
    match (port.checked_sub(COM1.start), port.checked_sub(PM1_CONTROL.start)) {
        (Some(0), _) => "serial: data",
        (Some(1), _) => "serial: interrupt enable",
        (Some(2), _) => "serial: interrupt identification, FIFO control",
        (Some(3), _) => "serial: line control",
        (Some(4), _) => "serial: modem control",
        (Some(5), _) => "serial: line status",
        (Some(6), _) => "serial: modem status",
        (Some(7), _) => "serial: scratch",
        (_, Some(0 | 1)) => "ACPI: power management control",
        _ => "nothing is here",
    }
}

/// What answers at a guest-physical address.
pub(super) fn mmio(gpa: u64) -> &'static str {
    if (LOCAL_APIC.start..LOCAL_APIC.end).contains(&gpa) {
        return "where the local APIC would be";
    }
    let Some(offset) = gpa.checked_sub(VIRTIO.start).filter(|at| *at < VIRTIO_SLOT_SIZE) else {
        return "nothing is here";
    };
    match offset {
        0x000 => "virtio disk: MagicValue",
        0x004 => "virtio disk: Version",
        0x008 => "virtio disk: DeviceID",
        0x00C => "virtio disk: VendorID",
        0x010 => "virtio disk: DeviceFeatures",
        0x014 => "virtio disk: DeviceFeaturesSel",
        0x020 => "virtio disk: DriverFeatures",
        0x024 => "virtio disk: DriverFeaturesSel",
        0x030 => "virtio disk: QueueSel",
        0x034 => "virtio disk: QueueNumMax",
        0x038 => "virtio disk: QueueNum",
        0x044 => "virtio disk: QueueReady",
        0x050 => "virtio disk: QueueNotify",
        0x060 => "virtio disk: InterruptStatus",
        0x064 => "virtio disk: InterruptACK",
        0x070 => "virtio disk: Status",
        0x080 => "virtio disk: QueueDescLow",
        0x084 => "virtio disk: QueueDescHigh",
        0x090 => "virtio disk: QueueDriverLow",
        0x094 => "virtio disk: QueueDriverHigh",
        0x0A0 => "virtio disk: QueueDeviceLow",
        0x0A4 => "virtio disk: QueueDeviceHigh",
        0x100.. => "virtio disk: configuration",
        _ => "virtio disk: reserved",
    }
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
