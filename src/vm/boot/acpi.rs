//! ACPI tables (ACPI 6.5, chapter 5): what the machine is made of, for kernels that ask there.
//!
//! RSDP → XSDT → FADT, MADT; FADT → DSDT, FACS. All of them lie in the BIOS area.

use acpi_tables::Aml;
use acpi_tables::aml;
use acpi_tables::facs::FACS;
use acpi_tables::fadt::{FADTBuilder, Flags};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::madt::{
    EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic,
};
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use vm_memory::{Bytes, GuestAddress, GuestMemoryError, GuestMemoryMmap};

use super::mp_table;
use crate::vm::devices::power::{RESET_VALUE, S5_SLEEP_TYPE};
use crate::vm::layout::{
    ACPI_RESET, ACPI_TABLES, COM1, COM1_GSI, IOAPIC, LOCAL_APIC, PM1_CONTROL, PM1_EVENT, PVPANIC,
    Ports, RTC, SCI_GSI, VirtioSlot,
};

const OEM_ID: [u8; 6] = *b"DUPLEX";
const OEM_TABLE_ID: [u8; 8] = *b"MICROVM ";
const OEM_REVISION: u32 = 1;
const DSDT_REVISION: u8 = 2;
/// FACS wants 64 bytes (ACPI 6.5, section 5.2.10); the other tables are content with that.
const TABLE_ALIGNMENT: u64 = 64;
/// IAPC_BOOT_ARCH (ACPI 6.5, table 5.11): no VGA to probe, no MSI. No 8042 is announced either:
/// its reset command works, but there is no keyboard to look for.
const BOOT_ARCH: u16 = VGA_NOT_PRESENT | MSI_NOT_SUPPORTED;
const VGA_NOT_PRESENT: u16 = 1 << 2;
const MSI_NOT_SUPPORTED: u16 = 1 << 3;
/// "A value > 100 indicates the system does not support a C2 state", and 1000 for C3.
const NO_C2: u16 = 101;
const NO_C3: u16 = 1001;
/// CMOS register that holds the century.
const CENTURY: u8 = 0x32;

/// Writes all tables for a machine with `cpus` processors and virtio devices in `virtio`.
///
/// # Errors
/// Only where guest memory is smaller than the layout says.
pub fn write(
    memory: &GuestMemoryMmap,
    cpus: u8,
    serial: bool,
    virtio: &[VirtioSlot],
) -> Result<(), GuestMemoryError> {
    // The RSDP comes first, where its address is known, and is written last.
    let mut next = ACPI_TABLES.start + TABLE_ALIGNMENT;
    let mut append = |table: &dyn Aml| {
        let mut bytes = Vec::new();
        table.to_aml_bytes(&mut bytes);
        let at = next;
        next = (at + bytes.len() as u64).next_multiple_of(TABLE_ALIGNMENT);
        memory.write_slice(&bytes, GuestAddress(at)).map(|()| at)
    };
    let facs = append(&FACS::new())?;
    let dsdt = append(&dsdt(serial, virtio))?;
    let fadt = append(&fadt(facs, dsdt).finalize())?;
    let madt = append(&madt(cpus))?;
    let mut xsdt = XSDT::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    xsdt.add_entry(fadt);
    xsdt.add_entry(madt);
    let xsdt = append(&xsdt)?;
    let mut rsdp = Vec::new();
    Rsdp::new(OEM_ID, xsdt).to_aml_bytes(&mut rsdp);
    memory.write_slice(&rsdp, GuestAddress(ACPI_TABLES.start))
}

/// Fixed ACPI Description Table: power-off, reset, and what is missing.
fn fadt(facs: u64, dsdt: u64) -> FADTBuilder {
    let mut fadt = FADTBuilder::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION)
        .firmware_ctrl_64(facs)
        .dsdt_64(dsdt)
        .flag(Flags::Wbinvd)
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton)
        .flag(Flags::ResetRegSup)
        .flag(Flags::Headless);
    fadt.sci_int = u16::try_from(SCI_GSI).unwrap_or(0).into();
    fadt.pm1a_evt_blk = u32::from(PM1_EVENT.start).into();
    fadt.x_pm1a_evt_blk = register(PM1_EVENT, AccessSize::WordAccess);
    fadt.pm1_evt_len = length(PM1_EVENT);
    fadt.pm1a_cnt_blk = u32::from(PM1_CONTROL.start).into();
    fadt.x_pm1a_cnt_blk = register(PM1_CONTROL, AccessSize::WordAccess);
    fadt.pm1_cnt_len = length(PM1_CONTROL);
    fadt.reset_reg = register(ACPI_RESET, AccessSize::ByteAccess);
    fadt.reset_value = RESET_VALUE;
    fadt.p_lvl2_lat = NO_C2.into();
    fadt.p_lvl3_lat = NO_C3.into();
    fadt.century = CENTURY;
    fadt.iapc_boot_arch = BOOT_ARCH.into();
    fadt
}

fn register(ports: Ports, access: AccessSize) -> GAS {
    GAS::new(AddressSpace::SystemIo, length(ports) * 8, 0, access, ports.start.into())
}

/// None of the fixed register blocks has more than a few ports.
fn length(ports: Ports) -> u8 {
    u8::try_from(ports.count).unwrap_or(0)
}

/// Multiple APIC Description Table: processors, and GSI n at I/O APIC input n.
fn madt(cpus: u8) -> MADT {
    let local_apic = LocalInterruptController::Address(low(LOCAL_APIC.start));
    let mut madt = MADT::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION, local_apic);
    for apic_id in 0..cpus {
        madt.add_structure(ProcessorLocalApic::new(apic_id, apic_id, EnabledStatus::Enabled));
    }
    madt.add_structure(IoApic::new(mp_table::ioapic_id(cpus), low(IOAPIC.start), 0));
    madt
}

/// Differentiated System Description Table: the devices, in AML.
fn dsdt(serial: bool, virtio: &[VirtioSlot]) -> Sdt {
    let mut body = Vec::new();
    sleep_state(&mut body);
    if serial {
        device(&mut body, "COM1", &aml::EISAName::new("PNP0501"), COM1, Some(COM1_GSI));
    }
    device(&mut body, "RTC_", &aml::EISAName::new("PNP0B00"), RTC, None);
    device(&mut body, "PEVT", &"QEMU0001", PVPANIC, None);
    for (uid, slot) in (0..).zip(virtio) {
        virtio_device(&mut body, uid, *slot);
    }
    let header_length = 36;
    let mut dsdt =
        Sdt::new(*b"DSDT", header_length, DSDT_REVISION, OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    dsdt.append_slice(&body);
    dsdt
}

/// `\_S5`: what to write into SLP_TYP to power off (ACPI 6.5, section 7.4.2.6).
fn sleep_state(body: &mut Vec<u8>) {
    let zero = aml::ZERO;
    let package = aml::Package::new(vec![&S5_SLEEP_TYPE, &zero, &zero, &zero]);
    aml::Name::new("_S5_".into(), &package).to_aml_bytes(body);
}

/// A device of the system bus with its ports and perhaps an edge-triggered interrupt.
fn device(body: &mut Vec<u8>, name: &str, id: &dyn Aml, ports: Ports, gsi: Option<u32>) {
    let io = aml::IO::new(ports.start, ports.start, 1, length(ports));
    let interrupt = gsi.map(|gsi| aml::Interrupt::new(true, true, false, false, gsi));
    let mut resources: Vec<&dyn Aml> = vec![&io];
    resources.extend(interrupt.as_ref().map(|interrupt| interrupt as &dyn Aml));
    let resources = aml::ResourceTemplate::new(resources);
    let hid = aml::Name::new("_HID".into(), id);
    let uid = aml::Name::new("_UID".into(), &aml::ZERO);
    let crs = aml::Name::new("_CRS".into(), &resources);
    aml::Scope::new("_SB_".into(), vec![&aml::Device::new(name.into(), vec![&hid, &uid, &crs])])
        .to_aml_bytes(body);
}

/// A virtio device with its registers and its interrupt: an edge, as an irqfd gives. `_CCA` says that
/// it sees what the processors' caches hold.
fn virtio_device(body: &mut Vec<u8>, uid: u8, slot: VirtioSlot) {
    let size = u32::try_from(slot.gpa.size()).unwrap_or(0);
    let registers = aml::Memory32Fixed::new(true, low(slot.gpa.start), size);
    let interrupt = aml::Interrupt::new(true, true, false, false, slot.gsi);
    let resources = aml::ResourceTemplate::new(vec![&registers, &interrupt]);
    let hid = aml::Name::new("_HID".into(), &"LNRO0005");
    let uid_name = aml::Name::new("_UID".into(), &uid);
    let coherent = aml::Name::new("_CCA".into(), &aml::ONE);
    let crs = aml::Name::new("_CRS".into(), &resources);
    let name = format!("VR{uid:02X}");
    let device = aml::Device::new(name.as_str().into(), vec![&hid, &uid_name, &coherent, &crs]);
    aml::Scope::new("_SB_".into(), vec![&device]).to_aml_bytes(body);
}

/// The controllers' and devices' addresses lie below 4 GiB.
fn low(address: u64) -> u32 {
    u32::try_from(address).unwrap_or(u32::MAX)
}
