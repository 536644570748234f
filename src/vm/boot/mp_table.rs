//! The MP table (Intel MultiProcessor Specification 1.4, chapter 4): processors and interrupt
//! lines for kernels that are built without ACPI, or told `acpi=off`.

use vm_memory::{Bytes, GuestAddress, GuestMemoryError, GuestMemoryMmap};

use crate::vm::layout::{EBDA, IOAPIC, IOAPIC_INPUTS, LOCAL_APIC, VirtioSlot};

const FLOATING_POINTER_SIZE: usize = 16;
const HEADER_SIZE: usize = 44;
const SPEC_REVISION_1_4: u8 = 4;
/// What KVM's local APIC reports in its version register.
const LOCAL_APIC_VERSION: u8 = 0x14;
/// What KVM's I/O APIC reports in its version register.
const IOAPIC_VERSION: u8 = 0x11;

const ENTRY_PROCESSOR: u8 = 0;
const ENTRY_BUS: u8 = 1;
const ENTRY_IOAPIC: u8 = 2;
const ENTRY_IO_INTERRUPT: u8 = 3;
const ENTRY_LOCAL_INTERRUPT: u8 = 4;

const CPU_ENABLED: u8 = 1 << 0;
const CPU_BOOTSTRAP: u8 = 1 << 1;
const IOAPIC_ENABLED: u8 = 1;
const INT: u8 = 0;
const NMI: u8 = 1;
const EXT_INT: u8 = 3;
const ISA_BUS: u8 = 0;
/// ISA's lines. A virtio device's line may lie behind them: Linux takes it on the same bus, and as
/// edge-triggered and active high, as it is.
const ISA_LINES: u8 = 16;
const EVERY_LOCAL_APIC: u8 = 0xFF;

/// Writes the floating pointer structure and the table behind it, for a machine with `cpus`
/// processors and virtio devices in `virtio`.
///
/// # Errors
/// Only where guest memory is smaller than the layout says.
pub fn write(
    memory: &GuestMemoryMmap,
    cpus: u8,
    virtio: &[VirtioSlot],
) -> Result<(), GuestMemoryError> {
    memory.write_slice(&table(cpus, virtio), GuestAddress(EBDA.start))
}

/// The I/O APIC's id: the first that no processor has.
pub fn ioapic_id(cpus: u8) -> u8 {
    cpus
}

fn table(cpus: u8, virtio: &[VirtioSlot]) -> Vec<u8> {
    let entries = entries(cpus, virtio);
    let mut table = Vec::with_capacity(HEADER_SIZE + entries.iter().map(Vec::len).sum::<usize>());
    table.extend(b"PCMP");
    let length = HEADER_SIZE + entries.iter().map(Vec::len).sum::<usize>();
    table.extend(u16::try_from(length).unwrap_or(0).to_le_bytes());
    table.extend([SPEC_REVISION_1_4, 0]); // checksum, below
    table.extend(b"DUPLEX  ");
    table.extend(b"MICROVM     ");
    table.extend([0; 6]); // no OEM table
    table.extend(u16::try_from(entries.len()).unwrap_or(0).to_le_bytes());
    table.extend(low(LOCAL_APIC.start));
    table.extend([0; 4]); // no extended table
    table.extend(entries.iter().flatten());
    set_checksum(&mut table, 7);

    let mut pointer = Vec::with_capacity(FLOATING_POINTER_SIZE);
    pointer.extend(b"_MP_");
    pointer.extend(low(EBDA.start + FLOATING_POINTER_SIZE as u64));
    // Length in paragraphs, revision, checksum, and feature bytes: a table is present.
    pointer.extend([1, SPEC_REVISION_1_4, 0, 0, 0, 0, 0, 0]);
    set_checksum(&mut pointer, 10);
    pointer.extend(table);
    pointer
}

fn entries(cpus: u8, virtio: &[VirtioSlot]) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    for apic_id in 0..cpus {
        let flags = if apic_id == 0 { CPU_ENABLED | CPU_BOOTSTRAP } else { CPU_ENABLED };
        let mut entry = vec![ENTRY_PROCESSOR, apic_id, LOCAL_APIC_VERSION, flags];
        // Signature and feature flags: kernels ask CPUID instead.
        entry.extend([0; 16]);
        entries.push(entry);
    }
    let mut bus = vec![ENTRY_BUS, ISA_BUS];
    bus.extend(b"ISA   ");
    entries.push(bus);
    let ioapic = ioapic_id(cpus);
    let mut entry = vec![ENTRY_IOAPIC, ioapic, IOAPIC_VERSION, IOAPIC_ENABLED];
    entry.extend(low(IOAPIC.start));
    entries.push(entry);
    let devices = virtio.iter().filter_map(|slot| u8::try_from(slot.gsi).ok());
    for line in (0..ISA_LINES).chain(devices.filter(|line| *line >= ISA_LINES)) {
        // Polarity and trigger as the bus has them; KVM wires GSI n to I/O APIC input n.
        entries.push(vec![ENTRY_IO_INTERRUPT, INT, 0, 0, ISA_BUS, line, ioapic, line]);
    }
    entries.push(vec![ENTRY_LOCAL_INTERRUPT, EXT_INT, 0, 0, ISA_BUS, 0, 0, 0]);
    entries.push(vec![ENTRY_LOCAL_INTERRUPT, NMI, 0, 0, ISA_BUS, 0, EVERY_LOCAL_APIC, 1]);
    entries
}

const _: () = assert!(ISA_LINES as u32 <= IOAPIC_INPUTS);

/// Makes all bytes add up to zero by setting the one at `at`.
fn set_checksum(bytes: &mut [u8], at: usize) {
    let sum = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    if let Some(checksum) = bytes.get_mut(at) {
        *checksum = checksum.wrapping_sub(sum);
    }
}

/// The bytes of an address below 4 GiB, which all of the layout's fixed addresses are.
fn low(address: u64) -> [u8; 4] {
    u32::try_from(address).unwrap_or(u32::MAX).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::layout::virtio_slots;
    use crate::workload::MAX_CPUS;

    fn all() -> Vec<VirtioSlot> {
        virtio_slots().collect()
    }

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
    }

    #[test]
    fn fits_the_ebda_with_every_number_of_cpus() {
        for cpus in 1..=MAX_CPUS {
            assert!(table(cpus, &all()).len() as u64 <= EBDA.size(), "{cpus} CPUs");
        }
    }

    #[test]
    fn checksums_add_up_to_zero() {
        for cpus in [1, 2, MAX_CPUS] {
            let table = table(cpus, &all());
            assert_eq!(sum(&table[..FLOATING_POINTER_SIZE]), 0);
            assert_eq!(sum(&table[FLOATING_POINTER_SIZE..]), 0);
        }
    }

    #[test]
    fn the_header_counts_its_entries() {
        for (virtio, lines) in [(&[][..], 16), (&all()[..3], 19), (&all()[..], 24)] {
            let table = table(4, virtio);
            let count = u16::from_le_bytes(table[16 + 34..16 + 36].try_into().unwrap());
            assert_eq!(count, 4 + 1 + 1 + lines + 2);
        }
    }
}
