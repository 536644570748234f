//! Kernels of a few bytes: 32-bit code at 1 MiB in an ELF with a PVH note.

/// Powers off through ACPI's PM1a control register.
pub(crate) const POWER_OFF: &[u8] = &[
    0x66, 0xBA, 0x04, 0x06, // mov $0x604, %dx
    0x66, 0xB8, 0x00, 0x34, // mov $SLP_EN | 5 << SLP_TYP, %ax
    0x66, 0xEF, // out %ax, %dx
];
/// Jumps to itself.
pub(crate) const LOOP: &[u8] = &[0xEB, 0xFE];
/// Prints "up\n" on COM1 and jumps to itself.
pub(crate) const PRINT_AND_LOOP: &[u8] = &[
    0x66, 0xBA, 0xF8, 0x03, // mov $0x3F8, %dx
    0xB0, b'u', 0xEE, // mov $'u', %al; out %al, %dx
    0xB0, b'p', 0xEE, //
    0xB0, b'\n', 0xEE, //
    0xEB, 0xFE, // jmp .
];
/// Prints "up\n" on COM1 and executes an undefined instruction without any handler.
pub(crate) const PRINT_AND_CRASH: &[u8] = &[
    0x66, 0xBA, 0xF8, 0x03, //
    0xB0, b'u', 0xEE, //
    0xB0, b'p', 0xEE, //
    0xB0, b'\n', 0xEE, //
    0x0F, 0x0B, // ud2
];

/// The ELF.
pub(crate) fn elf(code: &[u8]) -> Vec<u8> {
    const ENTRY: u64 = 0x10_0000;
    const HEADERS: u64 = 64 + 2 * 56;
    const NOTE: u64 = 12 + 4 + 4;
    let mut elf = b"\x7FELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]); // ET_EXEC, EM_X86_64, version 1
    for value in [ENTRY, 64, 0] {
        elf.extend(value.to_le_bytes()); // e_entry, e_phoff, e_shoff
    }
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 2, 0, 0, 0, 0, 0, 0, 0]); // two program headers
    let size = code.len() as u64;
    program_header(&mut elf, 1, HEADERS + NOTE, ENTRY, size);
    program_header(&mut elf, 4, HEADERS, 0, NOTE);
    elf.extend([4, 0, 0, 0, 4, 0, 0, 0, 18, 0, 0, 0]); // PHYS32_ENTRY
    elf.extend(b"Xen\0");
    elf.extend(u32::try_from(ENTRY).unwrap().to_le_bytes());
    elf.extend(code);
    elf
}

fn program_header(elf: &mut Vec<u8>, kind: u32, offset: u64, address: u64, size: u64) {
    elf.extend(kind.to_le_bytes());
    elf.extend(7_u32.to_le_bytes());
    for value in [offset, address, address, size, size, 4096] {
        elf.extend(value.to_le_bytes());
    }
}
