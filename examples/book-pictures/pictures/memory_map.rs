//! What lies where in guest-physical memory, in the order of addresses; the layout's own constants, and
//! where a real kernel and its initrd went.

use duplex::vm::layout::{
    self, ACPI_TABLES, CMDLINE, EBDA, GDT, HIGH_RAM, IOAPIC, LEGACY_HOLE, LOCAL_APIC, MIB,
    MMIO_HOLE, PVH_INFO, TSS, VIRTIO,
};
use serde_json::Value;

use super::svg::{Anchor, Svg};

const ROW: f64 = 27.0;
const TOP: f64 = 74.0;

struct Row {
    start: u64,
    class: &'static str,
    what: String,
    note: &'static str,
}

fn row(start: u64, class: &'static str, what: impl Into<String>, note: &'static str) -> Row {
    Row { start, class, what: what.into(), note }
}

pub(super) fn draw(data: &Value) -> String {
    let number = |value: &Value| value.as_u64().unwrap();
    let memory = number(&data["memory"]);
    let mut rows = vec![
        row(GDT.start, "written", "GDT", "flat segments for the first instruction"),
        row(
            PVH_INFO.start,
            "written",
            "PVH start info",
            "EBX points here: command line, initrd, memory map",
        ),
        row(CMDLINE.start, "written", "command line", ""),
        row(EBDA.start, "written", "MP table", "processors and lines, for kernels without ACPI"),
        row(
            LEGACY_HOLE.start,
            "hole",
            "a PC's video memory and ROMs",
            "left out of the memory map that the guest gets",
        ),
        row(ACPI_TABLES.start, "written", "ACPI tables", "processors, lines, virtio devices"),
        row(HIGH_RAM, "free", "RAM", "the guest's, from 1 MiB up"),
    ];
    for piece in data["kernel"].as_array().unwrap() {
        let (start, size) = (number(&piece["gpa"]), number(&piece["size"]));
        let what = format!("kernel: {} KiB", size / 1024);
        rows.push(row(
            start,
            "loaded",
            what,
            "mapped from its file; a page is copied when it is written",
        ));
    }
    rows.push(row(
        number(&data["kernel_end"]),
        "free",
        "RAM",
        "provided by the host when it is touched",
    ));
    rows.push(row(number(&data["initrd"]), "loaded", "initrd", "as high as it goes"));
    rows.push(row(memory, "hole", "nothing: no memslot", "an access leaves to user space"));
    rows.push(row(
        MMIO_HOLE.start,
        "hole",
        "the hole for devices begins",
        "no guest has RAM up to 4 GiB",
    ));
    rows.push(row(
        VIRTIO.start,
        "device",
        "virtio devices, a page each",
        "QueueNotify is an ioeventfd",
    ));
    rows.push(row(IOAPIC.start, "device", "I/O APIC", "answered by KVM, in the kernel"));
    rows.push(row(LOCAL_APIC.start, "device", "local APIC", "likewise"));
    rows.push(row(TSS.start, "device", "pages for real mode", "KVM's own, on Intel only"));
    rows.push(row(MMIO_HOLE.end, "free", "RAM of guests of more than 3 GiB", "a second memslot"));
    assert!(rows.windows(2).all(|pair| pair[0].start <= pair[1].start), "in order");
    assert_eq!(layout::ram(memory).len(), 1, "a small guest");
    let last = TOP + ROW * f64::from(u32::try_from(rows.len()).unwrap());
    let title = format!("Guest-physical memory, of a guest of {} MiB", memory / MIB);
    let mut svg = Svg::new(
        780.0,
        last + 24.0,
        &title,
        "A list of what lies where, in the order of addresses: tables that duplex wrote below 1 MiB, the kernel \
         from 16 MiB up, the initrd at the top of RAM, then a hole from 3 to 4 GiB with the devices.",
    );
    svg.text(20.0, 52.0, "small", Anchor::Start, "In the order of addresses, not to scale.");
    let mut x = 330.0;
    for (class, what) in [
        ("written", "written by duplex"),
        ("loaded", "from files"),
        ("device", "a device"),
        ("hole", "nothing"),
        ("free", "RAM"),
    ] {
        svg.rect(x, 42.0, 12.0, 12.0, class);
        svg.text(x + 17.0, 52.0, "small", Anchor::Start, what);
        x += 30.0 + 6.4 * f64::from(u32::try_from(what.len()).unwrap());
    }
    let mut y = TOP;
    for Row { start, class, what, note } in rows {
        svg.text(128.0, y + 15.0, "mono", Anchor::End, &format!("{start:#x}"));
        svg.rect(140.0, y, 270.0, ROW - 5.0, class);
        svg.text(150.0, y + 15.0, "", Anchor::Start, &what);
        svg.text(422.0, y + 15.0, "small", Anchor::Start, note);
        y += ROW;
    }
    svg.finish()
}
