//! The balloon: memory comes back to the host, and hostile page numbers hurt nobody.

use std::sync::Arc;
use std::time::{Duration, Instant};

use duplex::vm::devices::MmioDevice;
use duplex::vm::devices::virtio::balloon::Balloon;
use duplex::vm::devices::virtio::balloon::control::Control;
use duplex::vm::devices::virtio::event_thread::EventThread;
use duplex::vm::reclaim::Reclaim;

use crate::driver::{ARENA, Driver, MEMORY, NEEDS_RESET, WRITE, desc};

const INFLATE: usize = 0;
const DEFLATE: usize = 1;
const STATISTICS: usize = 2;
const REPORTING: usize = 3;
/// What is given back.
const VICTIM: u64 = 16 << 20;

pub(crate) fn balloon(pages: u32) -> (Driver, Arc<Control>) {
    let control = Arc::new(Control::new(pages).unwrap());
    let thread = Arc::new(EventThread::start("test").unwrap());
    let device = Balloon::new(control.clone(), Reclaim::default(), thread);
    (Driver::ready(Box::new(device), u64::MAX, 16), control)
}

fn config(driver: &Driver, offset: u64) -> u32 {
    let mut data = [0; 4];
    driver.transport.read(0x100 + offset, &mut data);
    u32::from_le_bytes(data)
}

/// Sends page numbers.
pub(crate) fn send(driver: &mut Driver, queue: usize, pages: &[u32]) {
    for (at, page) in (0..).zip(pages) {
        driver.put(ARENA + at * 4, *page);
    }
    driver.send(queue, 0, &[desc(ARENA, u32::try_from(pages.len() * 4).unwrap(), 0, 0)]);
    assert_eq!(driver.wait_used(queue), (0, 0));
}

fn page(gpa: u64) -> u32 {
    u32::try_from(gpa >> 12).unwrap()
}

#[test]
fn pages_in_the_balloon_are_the_hosts_and_come_back_empty() {
    let (mut driver, control) = balloon(0);
    for at in 0..4 {
        driver.put(VICTIM + at * 4096, 0x77_u8);
    }
    // Linux's order is mostly downwards.
    send(&mut driver, INFLATE, &[page(VICTIM) + 2, page(VICTIM) + 1]);
    let seen: [u8; 4] = std::array::from_fn(|at| driver.get(VICTIM + at as u64 * 4096));
    assert_eq!(seen, [0x77, 0, 0, 0x77]);
    assert_eq!(control.given_back(), 8192);
    send(&mut driver, DEFLATE, &[page(VICTIM) + 1]);
    driver.put(VICTIM + 4096, 1_u8);
}

#[test]
fn the_target_is_told_and_the_guest_says_how_far_it_is() {
    let (mut driver, control) = balloon(5);
    assert_eq!(config(&driver, 0), 5);
    control.set_target(1000);
    assert_eq!(driver.interrupt() & 2, 2, "the configuration has changed");
    assert_eq!(config(&driver, 0), 1000);
    driver.transport.write(0x104, &700_u32.to_le_bytes());
    assert_eq!((control.actual(), config(&driver, 4)), (700, 700));
    // num_pages is the host's, and what is behind it nobody's.
    driver.transport.write(0x100, &1_u32.to_le_bytes());
    driver.transport.write(0x104, &[1]);
    driver.transport.write(0x108, &9_u32.to_le_bytes());
    assert_eq!((control.target(), control.actual(), config(&driver, 8)), (1000, 700, 0));
    driver.start(u64::MAX, 16);
    assert_eq!((control.target(), control.actual()), (1000, 0), "a new driver has an empty one");
}

#[test]
fn statistics_come_when_they_are_asked_for() {
    let (mut driver, control) = balloon(0);
    let fill = |driver: &mut Driver, value: u64| {
        for (at, tag) in (0..).zip([4_u16, 5]) {
            driver.put(ARENA + at * 10, tag);
            driver.put(ARENA + at * 10 + 2, value + u64::from(tag));
        }
        // With half an entry at its end.
        driver.send(STATISTICS, 0, &[desc(ARENA, 25, 0, 0)]);
    };
    let wait = |control: &Control, value: u64| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while control.statistics().get(&4) != Some(&(value + 4)) {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
        assert_eq!(control.statistics().len(), 2);
    };
    fill(&mut driver, 100);
    wait(&control, 100);
    assert!(driver.take_used(STATISTICS).is_none(), "it is kept until more is wanted");
    control.request_statistics();
    assert_eq!(driver.wait_used(STATISTICS), (0, 0));
    fill(&mut driver, 200);
    wait(&control, 200);
}

#[test]
fn memory_that_is_reported_free_is_the_hosts() {
    let (mut driver, control) = balloon(0);
    driver.put(VICTIM, 0x77_u8);
    driver.put(VICTIM + (4 << 20), 0x77_u8);
    let ranges = [desc(VICTIM, 2 << 20, WRITE, 0), desc(VICTIM + (4 << 20), 4096, WRITE, 0)];
    driver.send(REPORTING, 0, &ranges);
    driver.wait_used(REPORTING);
    assert_eq!((driver.get::<u8>(VICTIM), driver.get::<u8>(VICTIM + (4 << 20))), (0, 0));
    assert_eq!(control.given_back(), (2 << 20) + 4096);
}

#[test]
fn pages_and_ranges_that_are_no_memory_hurt_nobody() {
    let (mut driver, control) = balloon(0);
    driver.put(VICTIM, 0x77_u8);
    send(&mut driver, INFLATE, &[u32::MAX, page(MEMORY), page(MEMORY) + 7, u32::MAX - 1]);
    for range in [
        desc(MEMORY - 4096, 8192, WRITE, 0),
        desc(u64::MAX - 4095, 4096, WRITE, 0),
        desc(VICTIM, u32::MAX, WRITE, 0),
        desc(VICTIM + 1, 4095, WRITE, 0),
    ] {
        for queue in [REPORTING, INFLATE] {
            driver.send(queue, 0, &[range]);
            driver.wait_used(queue);
        }
    }
    // A range to be read is not reported.
    driver.send(REPORTING, 0, &[desc(VICTIM, 4096, 0, 0)]);
    driver.wait_used(REPORTING);
    assert_eq!((control.given_back(), driver.get::<u8>(VICTIM)), (0, 0x77));
    assert_eq!(driver.status() & NEEDS_RESET, 0);
}

#[test]
fn buffers_for_statistics_beyond_the_one_are_given_back() {
    let (mut driver, _control) = balloon(0);
    driver.send(STATISTICS, 0, &[desc(ARENA, 20, 0, 0)]);
    driver.send(STATISTICS, 1, &[desc(ARENA, 20, 0, 0)]);
    assert_eq!(driver.wait_used(STATISTICS), (0, 0));
}
