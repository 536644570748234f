//! What a request costs a virtio device itself, in CPU time of all its threads and of the host's kernel
//! for them; the driver, which is the tests' mock driver, is not counted. Without KVM:
//! `cargo bench --bench virtio`.
#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

#[path = "common/device_time.rs"]
mod device_time;
#[path = "../tests/virtio/disk.rs"]
mod disk;
#[path = "../tests/virtio/driver.rs"]
mod driver;

use device_time::DeviceTime;
use disk::{Data, ENGINES, FLUSH, GET_ID, IN, OK, OUT};
use driver::{Driver, NEXT, desc};

const DISK: u64 = 16 << 20;
const QUEUE: u16 = 128;

/// Makes `depth` requests available at once, and waits until all are answered.
fn round(driver: &mut Driver, depth: u16) {
    for slot in 0..depth {
        driver.make_available(0, slot * 3);
    }
    if depth > 1 || driver.wants_kick(0) {
        driver.kick(0);
    }
    let mut left = depth;
    while left > 0 {
        let (head, _) = driver.wait_used(0);
        let head = u16::try_from(head).unwrap();
        assert_eq!(driver.get::<u8>(disk::place(head).1), OK);
        left -= 1;
    }
}

/// Writes the chains of `depth` requests, each for sectors of its own.
fn prepare(driver: &Driver, kind: u32, data: Data<'_>, depth: u16) {
    for slot in 0..depth {
        let chain = driver.prepare(slot * 3, kind, u64::from(slot) * 64, data);
        let last = chain.len() - 1;
        let linked: Vec<_> = (slot * 3..)
            .zip(chain.iter().enumerate())
            .map(|(head, (n, d))| {
                desc(d.gpa, d.len, d.flags | if n < last { NEXT } else { 0 }, head + 1)
            })
            .collect();
        driver.put_descriptors(driver.rings[0].descriptors, slot * 3, &linked);
    }
}

fn requests(criterion: &mut Criterion<DeviceTime>) {
    let block = [7; 4096];
    // What the host does for the first is nothing: it is what rings, chains and threads cost.
    let kinds = [
        ("id", GET_ID, Data::In(20)),
        ("read 4k", IN, Data::In(4096)),
        ("write 4k", OUT, Data::Out(&block)),
        ("flush", FLUSH, Data::None),
    ];
    for engine in ENGINES {
        let image = disk::image(DISK);
        std::fs::write(&image.path, vec![1; usize::try_from(DISK).unwrap()]).unwrap();
        let mut driver = Driver::ready(disk::device(&image.disk(engine)), u64::MAX, QUEUE);
        let mut group = criterion.benchmark_group(format!("disk {engine}"));
        for (name, kind, data) in kinds {
            for depth in [1, 32] {
                prepare(&driver, kind, data, depth);
                group.throughput(Throughput::Elements(depth.into()));
                group.bench_function(BenchmarkId::new(name, depth), |bencher| {
                    bencher.iter(|| round(&mut driver, depth));
                });
            }
        }
        group.finish();
    }
}

criterion_group! {
    name = virtio;
    config = Criterion::default().with_measurement(DeviceTime).sample_size(30);
    targets = requests
}
criterion_main!(virtio);
