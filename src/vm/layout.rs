//! The only map of guest-physical memory, ports and interrupts, each in address order.
//!
//! Below 1 MiB the layout is a PC's, because that is where guests look: Linux scans the EBDA for
//! the MP table and 0xE0000–0xFFFFF for the RSDP, whatever else it is told. From 3 GiB to 4 GiB
//! there is no RAM: devices and the interrupt controllers live there.

/// One kibibyte, in bytes.
pub const KIB: u64 = 1 << 10;
/// One mebibyte, in bytes.
pub const MIB: u64 = 1 << 20;
/// One gibibyte, in bytes.
pub const GIB: u64 = 1 << 30;
/// The page size that every mapping is made in, in bytes.
pub const PAGE: u64 = 4 * KIB;

/// A half-open range of guest-physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first address.
    pub start: u64,
    /// The address behind the last.
    pub end: u64,
}

impl Range {
    /// The range of `size` bytes at `start`; `None` where that wraps around.
    pub const fn sized(start: u64, size: u64) -> Option<Range> {
        match start.checked_add(size) {
            Some(end) => Some(Range { start, end }),
            None => None,
        }
    }

    /// How many bytes it spans.
    pub const fn size(self) -> u64 {
        self.end - self.start
    }

    /// Whether the two ranges share an address.
    pub const fn overlaps(self, other: Range) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Whether `inner` lies in this range altogether.
    pub const fn contains(self, inner: Range) -> bool {
        self.start <= inner.start && inner.end <= self.end
    }
}

// ---- guest-physical memory ------------------------------------------------------------------

/// The first registers' segment descriptors (Linux, Documentation/arch/x86/boot.rst, "64-bit boot
/// protocol" and the PVH ABI both ask for a flat GDT).
pub const GDT: Range = Range { start: 0x500, end: 0x540 };
/// PVH `hvm_start_info`, its module list and memory map.
pub const PVH_INFO: Range = Range { start: 0x6000, end: 0x7000 };
/// Linux's zero page, `struct boot_params`.
pub const ZERO_PAGE: Range = Range { start: 0x7000, end: 0x8000 };
/// The first page tables: a PML4, a PDPT and four page directories that map 4 GiB one to one.
pub const PAGE_TABLES: Range = Range { start: 0x9000, end: 0xF000 };
/// The kernel's command line with its final NUL.
pub const CMDLINE: Range = Range { start: 0x2_0000, end: 0x3_0000 };
/// Extended BIOS data area: the MP floating pointer structure and the MP table.
pub const EBDA: Range = Range { start: 0x9_FC00, end: 0xA_0000 };
/// Video memory and option ROMs on a PC: no RAM here.
pub const LEGACY_HOLE: Range = Range { start: 0xA_0000, end: 0xE_0000 };
/// The BIOS area: the RSDP and the other ACPI tables.
pub const ACPI_TABLES: Range = Range { start: 0xE_0000, end: 0x10_0000 };
/// Where memory above the PC's first mebibyte starts; kernels go here or higher.
pub const HIGH_RAM: u64 = MIB;
/// How far the first page tables map memory one to one: the 64-bit entry must lie below.
pub const FIRST_MAPPED: u64 = 4 * GIB;
/// Below 4 GiB: no RAM from here on.
pub const MMIO_HOLE: Range = Range { start: 3 * GIB, end: 4 * GIB };
/// The virtio-mmio devices: [`VIRTIO_SLOTS`] of [`VIRTIO_SLOT_SIZE`] bytes each.
pub const VIRTIO: Range = Range { start: 0xD000_0000, end: 0xD001_0000 };
/// I/O APIC registers.
pub const IOAPIC: Range = Range { start: 0xFEC0_0000, end: 0xFEC0_1000 };
/// Local APIC registers.
pub const LOCAL_APIC: Range = Range { start: 0xFEE0_0000, end: 0xFEE0_1000 };
/// VMX only: the page that KVM uses as identity map while a guest has paging off
/// (KVM_SET_IDENTITY_MAP_ADDR).
pub const IDENTITY_MAP: Range = Range { start: 0xFFFB_C000, end: 0xFFFB_D000 };
/// VMX only: the three pages that KVM uses as task state segment in real mode (KVM_SET_TSS_ADDR).
pub const TSS: Range = Range { start: 0xFFFB_D000, end: 0xFFFC_0000 };

const MEMORY_MAP: [Range; 13] = [
    GDT,
    PVH_INFO,
    ZERO_PAGE,
    PAGE_TABLES,
    CMDLINE,
    EBDA,
    LEGACY_HOLE,
    ACPI_TABLES,
    VIRTIO,
    IOAPIC,
    LOCAL_APIC,
    IDENTITY_MAP,
    TSS,
];
const _: () = assert_in_order(&MEMORY_MAP);
const _: () = assert!(
    MMIO_HOLE.contains(VIRTIO)
        && MMIO_HOLE.contains(IOAPIC)
        && MMIO_HOLE.contains(LOCAL_APIC)
        && MMIO_HOLE.contains(IDENTITY_MAP)
        && MMIO_HOLE.contains(TSS)
);

// ---- ports ----------------------------------------------------------------------------------

/// A half-open range of I/O ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The first port.
    pub start: u16,
    /// How many there are.
    pub count: u16,
}

/// 8042 keyboard controller: data register (0x60), and command and status register (0x64).
pub const I8042: Ports = Ports { start: 0x60, count: 5 };
/// CMOS real-time clock: index and data.
pub const RTC: Ports = Ports { start: 0x70, count: 2 };
/// An access that stands for a breakpoint, where a debugger has put one into the guest's code (docs/gdb.md).
/// Nothing on a PC answers here.
pub const BREAKPOINT: Ports = Ports { start: 0xEE, count: 1 };
/// 16550 UART, the PC's first serial port.
pub const COM1: Ports = Ports { start: 0x3F8, count: 8 };
/// pvpanic: the guest reports its own panic.
pub const PVPANIC: Ports = Ports { start: 0x505, count: 1 };
/// The boot mark: a guest's init writes a byte here to say that user space was reached
/// (docs/boot.md). duplex's own; nothing on a PC answers here.
pub const BOOT_MARK: Ports = Ports { start: 0x5D0, count: 1 };
/// ACPI PM1a event block: status and enable registers (ACPI 6.5, section 4.8.3.1).
pub const PM1_EVENT: Ports = Ports { start: 0x600, count: 4 };
/// ACPI PM1a control block (ACPI 6.5, section 4.8.3.2).
pub const PM1_CONTROL: Ports = Ports { start: 0x604, count: 2 };
/// The register that FADT names as RESET_REG.
pub const ACPI_RESET: Ports = Ports { start: 0x608, count: 1 };
/// PCI configuration mechanism #1: address and data. The reset control register of PC chipsets
/// is a byte within the address register.
pub const PCI_CONFIG: Ports = Ports { start: 0xCF8, count: 8 };
/// Reset control register (Intel ICH "RST_CNT"), a byte inside [`PCI_CONFIG`].
pub const RESET_CONTROL: u16 = 0xCF9;

const PORT_MAP: [Ports; 10] = [
    I8042,
    RTC,
    BREAKPOINT,
    COM1,
    PVPANIC,
    BOOT_MARK,
    PM1_EVENT,
    PM1_CONTROL,
    ACPI_RESET,
    PCI_CONFIG,
];
const _: () = assert_ports_in_order(&PORT_MAP);

// ---- interrupts -----------------------------------------------------------------------------

/// GSI of COM1: the ISA interrupt line that PCs wire it to.
pub const COM1_GSI: u32 = 4;
/// GSI of the ACPI system control interrupt (SCI).
pub const SCI_GSI: u32 = 9;
/// GSIs of the virtio devices, one each, in the order in which they are given out. First those that
/// only the I/O APIC has; then ISA lines that nothing here is wired to. Not among them: the PIT (0),
/// keyboard and mouse (1, 12), the cascade (2), COM1 (4), the RTC (8), the SCI (9) and the FPU (13).
pub const VIRTIO_GSIS: [u32; VIRTIO_SLOTS] =
    [16, 17, 18, 19, 20, 21, 22, 23, 5, 6, 7, 10, 11, 14, 15, 3];
/// How many inputs KVM's I/O APIC has: GSIs 0 to 23.
pub const IOAPIC_INPUTS: u32 = 24;

// ---- virtio slots ---------------------------------------------------------------------------

/// How many virtio devices a machine can have: what is left of the I/O APIC's 24 inputs, for an edge
/// cannot be shared.
pub const VIRTIO_SLOTS: usize = 16;
/// The size of a virtio device's registers: a page, so that each could be mapped apart.
pub const VIRTIO_SLOT_SIZE: u64 = PAGE;
const _: () = assert!(VIRTIO.size() == VIRTIO_SLOTS as u64 * VIRTIO_SLOT_SIZE);

/// Where a virtio device lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtioSlot {
    /// Its registers.
    pub gpa: Range,
    /// Its interrupt, edge-triggered.
    pub gsi: u32,
}

/// The slots in the order in which devices get them.
pub fn virtio_slots() -> impl Iterator<Item = VirtioSlot> {
    (0..).zip(VIRTIO_GSIS).map(|(number, gsi)| {
        let start = VIRTIO.start + number * VIRTIO_SLOT_SIZE;
        VirtioSlot { gpa: Range { start, end: start + VIRTIO_SLOT_SIZE }, gsi }
    })
}

// ---- checks at compile time -----------------------------------------------------------------

const fn assert_in_order(ranges: &[Range]) {
    let mut i = 0;
    while i < ranges.len() {
        assert!(ranges[i].start < ranges[i].end, "an empty range in the memory map");
        assert!(i == 0 || ranges[i - 1].end <= ranges[i].start, "memory map overlaps or unordered");
        i += 1;
    }
}

const fn assert_ports_in_order(ports: &[Ports]) {
    let mut i = 1;
    while i < ports.len() {
        assert!(
            ports[i - 1].start + ports[i - 1].count <= ports[i].start,
            "port map overlaps or unordered"
        );
        i += 1;
    }
}

/// How `size` bytes of RAM lie in guest-physical memory: one range below the hole and, where that
/// is not enough, a second from 4 GiB up.
pub fn ram(size: u64) -> Vec<Range> {
    let low = size.min(MMIO_HOLE.start);
    let mut ranges = vec![Range { start: 0, end: low }];
    if size > low {
        ranges.push(Range { start: MMIO_HOLE.end, end: MMIO_HOLE.end.saturating_add(size - low) });
    }
    ranges
}

/// The part of RAM that a guest may use as it likes, and who owns the rest: the e820 map.
pub fn e820(size: u64) -> Vec<(Range, E820)> {
    let mut map = vec![
        (Range { start: 0, end: EBDA.start }, E820::Ram),
        (EBDA, E820::Reserved),
        (ACPI_TABLES, E820::Acpi),
    ];
    for range in ram(size) {
        let start = range.start.max(HIGH_RAM);
        map.push((Range { start, end: range.end }, E820::Ram));
    }
    // The TSS and identity-map pages: VMX keeps its own data there.
    map.push((Range { start: IDENTITY_MAP.start, end: TSS.end }, E820::Reserved));
    map.sort_by_key(|(range, _)| range.start);
    map
}

/// Types of memory in the e820 map (ACPI 6.5, section 15, table 15.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum E820 {
    /// Memory that the guest may use.
    Ram = 1,
    /// Memory that the guest must leave alone.
    Reserved = 2,
    /// ACPI tables: usable once they have been read.
    Acpi = 3,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ram_below_the_hole_is_one_range() {
        assert_eq!(ram(512 * MIB), [Range { start: 0, end: 512 * MIB }]);
        assert_eq!(ram(3 * GIB), [Range { start: 0, end: 3 * GIB }]);
    }

    #[test]
    fn ram_beyond_the_hole_goes_on_at_4_gib() {
        assert_eq!(
            ram(5 * GIB),
            [Range { start: 0, end: 3 * GIB }, Range { start: 4 * GIB, end: 6 * GIB }]
        );
    }

    #[test]
    fn virtio_slots_fill_their_window_and_have_interrupts_of_their_own() {
        let slots: Vec<VirtioSlot> = virtio_slots().collect();
        assert_eq!((slots.len(), slots[0].gpa.start), (VIRTIO_SLOTS, VIRTIO.start));
        assert_eq!(slots[VIRTIO_SLOTS - 1].gpa.end, VIRTIO.end);
        let mut gsis = VIRTIO_GSIS.to_vec();
        gsis.extend([0, 1, 2, COM1_GSI, 8, SCI_GSI, 12, 13]);
        gsis.sort_unstable();
        assert_eq!(gsis, (0..IOAPIC_INPUTS).collect::<Vec<_>>());
    }

    #[test]
    fn e820_is_sorted_and_free_of_overlap() {
        for size in [32 * MIB, 3 * GIB, 3 * GIB + PAGE, 64 * GIB] {
            let map = e820(size);
            for pair in map.windows(2) {
                assert!(pair[0].0.end <= pair[1].0.start, "{map:x?}");
            }
        }
    }
}
