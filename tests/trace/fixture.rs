//! A small trace, always the same: two vCPUs, a serial port, a disk and a device that is not there.

use std::collections::BTreeMap;
use std::path::Path;

use duplex::trace::devices::{Device, DeviceMap};
use duplex::trace::event::{Event, Exit};
use duplex::trace::exits::Reason;
use duplex::trace::file::about::{
    About, Conclusion, Counters, Half, Lane, ReachedPhase, Source, Unit,
};
use duplex::trace::file::write::{Batch, TraceFile};

/// When its process was started, on the monotonic clock.
pub(crate) const START: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;
/// How many bytes its guest prints.
pub(crate) const PRINTED: u64 = 300;

fn both(name: &str) -> (String, String) {
    (name.to_owned(), name.to_owned())
}

fn devices() -> DeviceMap {
    let serial = Device {
        name: "serial".into(),
        start: 0x3F8,
        size: 8,
        registers: BTreeMap::from([
            (0, ("receive".into(), "transmit".into())),
            (5, both("line status")),
        ]),
    };
    let disk = Device {
        name: "virtio-blk".into(),
        start: 0xD000_0000,
        size: 0x1000,
        registers: BTreeMap::from([(0x60, both("InterruptStatus")), (0x64, both("InterruptACK"))]),
    };
    DeviceMap { ports: vec![serial], mapped: vec![disk] }
}

/// The exits of the first vCPU: it prints, reads a register of the disk, and asks where nothing is.
fn exits() -> Vec<Event> {
    let mut now = START + 10 * MS;
    let mut exit = |reason, number, address, value, rip, guest, vmm| {
        let at = now + guest;
        now = at + vmm;
        Event::Exit(Exit {
            reason,
            number,
            at,
            address,
            size: 1,
            count: 1,
            value,
            rip: Some(rip),
            guest,
            vmm,
        })
    };
    let mut exits = Vec::new();
    for byte in 0..PRINTED {
        exits.push(exit(Reason::PortIn, 2, 0x3FD, 0x60, 0x1004, 20_000, 3_000));
        exits.push(exit(
            Reason::PortOut,
            2,
            0x3F8,
            byte & 0x7F,
            0x1010,
            10_000,
            40_000 + byte * 100,
        ));
    }
    exits.push(exit(Reason::MmioRead, 6, 0xD000_0060, 1, 0x2008, 50_000, 9_000));
    exits.push(exit(Reason::PortOut, 2, 0x80, 0, 0x3000, 1_000, 700));
    exits.push(exit(Reason::Interrupted, 10, 0, 0, 0x2100, 5 * MS, 2_000_000));
    exits
}

fn requests() -> Vec<Event> {
    let at = |offset: u64| START + 20 * MS + offset;
    vec![
        Event::Kick { at: at(0) },
        Event::Taken { at: at(4_000), head: 0, readable: 16, writable: 4097 },
        Event::Taken { at: at(5_000), head: 3, readable: 528, writable: 1 },
        Event::Done { at: at(90_000), head: 3, written: 1 },
        Event::Done { at: at(120_000), head: 0, written: 4097 },
        Event::Notified { at: at(125_000), interrupt: true },
    ]
}

fn batch(file: &TraceFile, lane: u32, dropped: u64, events: &[Event]) {
    let mut batch = Batch::default();
    batch.begin(lane, dropped);
    events.iter().for_each(|event| batch.add(event.words()));
    file.events(&mut batch).unwrap();
}

/// Writes it.
pub(crate) fn write(path: &Path) {
    let file = TraceFile::create(path).unwrap();
    file.about(&About {
        duplex: "0.0.0".into(),
        half: Half::Vm,
        command: "duplex boot --kernel fixture".into(),
        kernel: Some("/nowhere/fixture".into()),
        cmdline: Some("console=ttyS0".into()),
        start: START,
        unit: Unit::Nanoseconds,
    })
    .unwrap();
    file.devices(&devices()).unwrap();
    for (number, source) in [
        (0, Source::Vcpu(0)),
        (1, Source::Vcpu(1)),
        (2, Source::Queue { slot: 0, device: "virtio-blk".into(), queue: 0 }),
        (3, Source::Line { device: "serial".into(), gsi: 4 }),
    ] {
        file.lane(&Lane { number, source }).unwrap();
    }
    let exits = exits();
    let (first, rest) = exits.split_at(100);
    batch(&file, 0, 0, first);
    batch(&file, 2, 0, &requests());
    batch(&file, 0, 0, rest);
    let started = Exit {
        reason: Reason::Other,
        number: 0,
        at: START + 30 * MS,
        address: 0,
        size: 0,
        count: 0,
        value: 0,
        rip: None,
        guest: 20 * MS,
        vmm: 1_000,
    };
    batch(&file, 1, 0, &[Event::Exit(started)]);
    batch(&file, 3, 0, &[Event::Notified { at: START + 12 * MS, interrupt: true }]);
    file.counters(&Counters {
        vcpu: 0,
        counted: vec![("exits".into(), 2000), ("halt_exits".into(), 100)],
    })
    .unwrap();
    let phase = |phase: &str, text: &str, at| ReachedPhase {
        phase: phase.into(),
        text: text.into(),
        at: at * MS,
    };
    file.phases(&[
        phase("main", "process started", 1),
        phase("first_run", "first KVM_RUN", 10),
        phase("user_space", "user space reached", 30),
        phase("end", "end", 47),
    ])
    .unwrap();
    file.end(Conclusion { whole: true }).unwrap();
}

/// A System.map for its guest.
pub(crate) const SYSTEM_MAP: &str = "\
0000000000001000 T serial_putc
0000000000002000 T vm_interrupt
0000000000002100 t idle
0000000000003000 T io_delay
";
