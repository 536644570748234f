//! Resets at any moment: nothing is written to guest memory afterwards, and the device works again.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use duplex::vm::devices::virtio::block::backing::Backing;
use duplex::workload::Disk;
use vm_memory::{Bytes, GuestAddress};

use crate::disk::{ALL, Data, ENGINES, FLUSH, IN, OK, OUT, STRIDE, device, image};
use crate::driver::{ARENA, Driver, NEEDS_RESET, NEXT, desc};

/// Makes requests available in all descriptors of a queue of 64: 21 of them.
fn fill(driver: &mut Driver) {
    for n in 0..21_u16 {
        let head = n * 3;
        let data = vec![u8::try_from(n).unwrap(); 32 << 10];
        let chain = match n % 3 {
            0 => driver.prepare(head, OUT, u64::from(n) * 64, Data::Out(&data)),
            1 => driver.prepare(head, IN, u64::from(n) * 64, Data::In(32 << 10)),
            _ => driver.prepare(head, FLUSH, 0, Data::None),
        };
        let last = chain.len() - 1;
        let linked: Vec<_> = (head..)
            .zip(chain.iter().enumerate())
            .map(|(at, (n, d))| {
                desc(d.gpa, d.len, d.flags | if n < last { NEXT } else { 0 }, at + 1)
            })
            .collect();
        driver.put_descriptors(driver.rings[0].descriptors, head, &linked);
        driver.make_available(0, head);
        driver.kick(0);
    }
}

fn snapshot(driver: &Driver) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(64 * STRIDE).unwrap()];
    driver.memory.read_slice(&mut bytes, GuestAddress(ARENA)).unwrap();
    let mut rings = vec![0; 0x2_0000];
    driver.memory.read_slice(&mut rings, GuestAddress(0x1_0000)).unwrap();
    bytes.extend(rings);
    bytes
}

#[test]
fn a_reset_with_requests_in_hand_ends_them_all() {
    for engine in ENGINES {
        let image = image(4 << 20);
        let mut driver = Driver::ready(device(&image.disk(engine)), ALL, 64);
        for round in 0..20 {
            fill(&mut driver);
            if round % 2 == 1 {
                driver.wait_used(0);
            }
            driver.set_status(0);
            let after = snapshot(&driver);
            assert_eq!((driver.status(), driver.read(0x60)), (0, 0));
            std::thread::sleep(Duration::from_millis(2));
            assert!(snapshot(&driver) == after, "guest memory changed after a reset");
            driver.start(ALL, 64);
            assert_eq!(driver.status_of(IN, 0, Data::In(512)), OK);
            driver.start(ALL, 64);
        }
    }
}

#[test]
fn a_queue_that_was_taken_away_is_left_alone_until_the_next_reset() {
    for engine in ENGINES {
        let image = image(4 << 20);
        let disk = Disk { queues: 2, ..image.disk(engine) };
        let mut driver = Driver::ready(device(&disk), ALL, 64);
        fill(&mut driver);
        driver.take_away(0);
        let after = snapshot(&driver);
        assert_eq!(driver.status() & NEEDS_RESET, NEEDS_RESET);
        fill(&mut driver);
        // A working device would be at it by now.
        std::thread::sleep(Duration::from_millis(20));
        let used = |bytes: &[u8]| bytes[bytes.len() - 0x1_0000..].to_vec();
        assert!(used(&snapshot(&driver)) == used(&after), "something was given back");
        driver.start(ALL, 64);
        assert_eq!(driver.status_of(IN, 0, Data::In(512)), OK);
    }
}

#[test]
fn what_was_acknowledged_before_the_end_is_in_the_file() {
    for engine in ENGINES {
        let image = image(4 << 20);
        let mut driver = Driver::ready(device(&image.disk(engine)), ALL, 64);
        fill(&mut driver);
        let mut written = Vec::new();
        for _ in 0..10 {
            let (head, _) = driver.wait_used(0);
            written.extend(Some(head / 3).filter(|n| n % 3 == 0));
        }
        let memory = driver.memory.clone();
        // The end of a VM: the transport stops its device.
        driver.transport.stop();
        drop(driver);
        drop(memory);
        let file = fs::read(&image.path).unwrap();
        for n in written {
            let at = usize::try_from(n).unwrap() * 64 * 512;
            assert!(file[at..at + (32 << 10)].iter().all(|byte| u32::from(*byte) == n), "{n}");
        }
        // And the lock is gone.
        assert!(Backing::open(&image.path, false).is_ok());
    }
}

#[test]
fn a_reset_does_not_wait_for_a_rate_limit() {
    for engine in ENGINES {
        let image = image(4 << 20);
        let disk = Disk { bytes_per_second: Some(1), ..image.disk(engine) };
        let mut driver = Driver::ready(device(&disk), ALL, 64);
        // The first of 32 KiB goes into debt for hours.
        fill(&mut driver);
        driver.wait_used(0);
        let start = std::time::Instant::now();
        driver.set_status(0);
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn a_guest_that_never_stops_asking_cannot_keep_a_device_from_its_reset() {
    for engine in ENGINES {
        let image = image(4 << 20);
        let mut driver = Driver::ready(device(&image.disk(engine)), ALL, 64);
        fill(&mut driver);
        let (memory, ring, transport) =
            (driver.memory.clone(), driver.rings[0], driver.transport.clone());
        let stop = AtomicBool::new(false);
        let reset = std::thread::scope(|scope| {
            // Another vCPU: makes the same chain available as fast as it can, up to what is allowed.
            scope.spawn(|| {
                let index = GuestAddress(ring.available + 2);
                let used = GuestAddress(ring.used + 2);
                while !stop.load(Ordering::Relaxed) {
                    let done: u16 = memory.load(used, Ordering::Acquire).unwrap();
                    memory.store(done.wrapping_add(21), index, Ordering::Release).unwrap();
                    let _ = transport.kicks()[0].write(1);
                }
            });
            std::thread::sleep(Duration::from_millis(100));
            let start = std::time::Instant::now();
            driver.set_status(0);
            let took = start.elapsed();
            stop.store(true, Ordering::Relaxed);
            took
        });
        assert!(reset < Duration::from_secs(5), "{reset:?}");
    }
}
