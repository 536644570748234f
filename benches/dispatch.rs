//! What it takes to bring an access that left the guest to the device that answers it: the way of every exit.
//! The devices do nothing, so what is measured is the bus. Without KVM: `cargo bench --bench dispatch`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use duplex::trace::exits::{ExitCounts, Reason};
use duplex::vm::bus::Bus;
use duplex::vm::devices::{Action, MmioDevice, PortDevice};
use duplex::vm::layout::{
    ACPI_RESET, BOOT_MARK, COM1, I8042, PCI_CONFIG, PM1_CONTROL, PM1_EVENT, PVPANIC, RTC, Range,
    VIRTIO,
};

/// What a virtio-mmio device takes of its window.
const PAGE: u64 = 4096;

struct Nothing;

impl PortDevice for Nothing {
    fn read(&mut self, _offset: u16, data: &mut [u8]) {
        data.fill(0);
    }

    fn write(&mut self, _offset: u16, data: &[u8]) -> Action {
        black_box(data);
        Action::Continue
    }
}

impl MmioDevice for Nothing {
    fn read(&self, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write(&self, _offset: u64, data: &[u8]) {
        black_box(data);
    }
}

/// As many devices as a machine has at most.
fn machine() -> Bus {
    let mut bus = Bus::default();
    for ports in
        [I8042, RTC, COM1, PVPANIC, BOOT_MARK, PM1_EVENT, PM1_CONTROL, ACPI_RESET, PCI_CONFIG]
    {
        bus.insert(ports, Nothing);
    }
    for page in 0..(VIRTIO.end - VIRTIO.start) / PAGE {
        let range = Range::sized(VIRTIO.start + page * PAGE, PAGE).unwrap();
        bus.insert_mapped(range, Arc::new(Nothing));
    }
    bus
}

fn dispatch(criterion: &mut Criterion) {
    let bus = machine();
    let mut group = criterion.benchmark_group("dispatch");
    group.bench_function("out, one byte", |bencher| {
        bencher.iter(|| bus.port_out(black_box(COM1.start), 1, b"x"));
    });
    group.bench_function("rep outsb, 64 bytes", |bencher| {
        bencher.iter(|| bus.port_out(black_box(COM1.start), 1, &[b'x'; 64]));
    });
    group.bench_function("in, one byte", |bencher| {
        let mut data = [0];
        bencher.iter(|| bus.port_in(black_box(COM1.start + 5), 1, &mut data));
    });
    group.bench_function("mmio store", |bencher| {
        let last = VIRTIO.end - PAGE + 0x50;
        bencher.iter(|| bus.mmio_write(black_box(last), &[0; 4]));
    });
    group.bench_function("mmio load", |bencher| {
        let mut data = [0; 4];
        bencher.iter(|| bus.mmio_read(black_box(VIRTIO.start + 0x60), &mut data));
    });
    group.bench_function("in, where nothing is", |bencher| {
        let mut data = [0];
        bencher.iter(|| bus.port_in(black_box(0x80), 1, &mut data));
    });
    group.bench_function("an exit is counted", |bencher| {
        let mut counts = ExitCounts::default();
        bencher.iter(|| counts.count(black_box(Reason::PortOut)));
        black_box(counts);
    });
    group.finish();
}

criterion_group!(benches, dispatch);
criterion_main!(benches);
