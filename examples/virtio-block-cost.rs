//! What a request costs the block device itself: 4 KiB random reads of a file in the page cache, by
//! the mock driver of the tests, without KVM. `cargo run --release --example virtio-block-cost`
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::time::Instant;

use duplex::workload::DiskEngine;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

#[path = "../tests/virtio/disk.rs"]
mod disk;
#[path = "../tests/virtio/driver.rs"]
mod driver;

use disk::{Data, ENGINES, IN, OK};
use driver::{Driver, NEXT, desc};

const DISK: u64 = 64 << 20;
const BLOCK: u32 = 4096;
const REQUESTS: u32 = 200_000;
const QUEUE: u16 = 128;

fn main() {
    println!(
        "engine    depth  requests/s  device CPU ns  driver CPU ns  kicks/req  interrupts/req"
    );
    for engine in ENGINES {
        for depth in [1, 32] {
            measure(engine, depth);
        }
    }
}

fn measure(engine: DiskEngine, depth: u16) {
    let image = disk::image(DISK);
    std::fs::write(&image.path, vec![1; usize::try_from(DISK).unwrap()]).unwrap();
    let mut driver = Driver::ready(disk::device(&image.disk(engine)), u64::MAX, QUEUE);
    for slot in 0..depth {
        let chain = driver.prepare(slot * 3, IN, 0, Data::In(BLOCK));
        let linked = [0, 1, 2].map(|at| {
            let d = chain[usize::from(at)];
            desc(d.gpa, d.len, d.flags | if at < 2 { NEXT } else { 0 }, slot * 3 + at + 1)
        });
        driver.put_descriptors(driver.rings[0].descriptors, slot * 3, &linked);
    }
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut kicks = 0;
    let mut free: Vec<u16> = (0..depth).map(|slot| slot * 3).collect();
    let (mut sent, mut done) = (0, 0);
    let (start, before, own) =
        (Instant::now(), cpu(UsageWho::RUSAGE_SELF), cpu(UsageWho::RUSAGE_THREAD));
    while done < REQUESTS {
        while sent < REQUESTS
            && let Some(head) = free.pop()
        {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            driver.put(disk::place(head).0 + 8, random % (DISK / u64::from(BLOCK)) * 8);
            driver.make_available(0, head);
            if driver.wants_kick(0) {
                driver.kick(0);
                kicks += 1;
            }
            sent += 1;
        }
        let mut used = Some(driver.wait_used(0));
        while let Some((head, _)) = used {
            let head = u16::try_from(head).unwrap();
            assert_eq!(driver.get::<u8>(disk::place(head).1), OK);
            free.push(head);
            done += 1;
            used = driver.take_used(0);
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let driver_cpu = cpu(UsageWho::RUSAGE_THREAD) - own;
    let device_cpu = cpu(UsageWho::RUSAGE_SELF) - before - driver_cpu;
    let per = |value: f64| value / f64::from(REQUESTS);
    println!(
        "{:<9} {depth:>5}  {:>10.0}  {:>13.0}  {:>13.0}  {:>9.2}  {:>14.2}",
        engine.to_string(),
        f64::from(REQUESTS) / seconds,
        per(device_cpu * 1e9),
        per(driver_cpu * 1e9),
        per(f64::from(kicks)),
        per(driver.interrupts as f64),
    );
}

/// Seconds of CPU time, in user and kernel mode.
fn cpu(who: UsageWho) -> f64 {
    let usage = getrusage(who).unwrap();
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    micros as f64 / 1e6
}
