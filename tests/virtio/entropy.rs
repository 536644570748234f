//! The entropy device.

use std::sync::Arc;
use std::time::{Duration, Instant};

use duplex::vm::devices::virtio::event_thread::EventThread;
use duplex::vm::devices::virtio::rng::Rng;

use crate::driver::{ARENA, Driver, WRITE, desc};

fn driver() -> Driver {
    let thread = Arc::new(EventThread::start("test").unwrap());
    Driver::ready(Box::new(Rng::new(thread)), u64::MAX, 8)
}

#[test]
fn buffers_are_filled_with_noise() {
    let mut driver = driver();
    driver.send(0, 0, &[desc(ARENA, 40, WRITE, 0), desc(ARENA + 0x100, 60, WRITE, 0)]);
    assert_eq!(driver.wait_used(0), (0, 100));
    let seen: [u8; 60] = std::array::from_fn(|at| driver.get(ARENA + 0x100 + at as u64));
    assert!(seen.iter().collect::<std::collections::HashSet<_>>().len() > 20, "{seen:?}");
    assert_eq!(driver.get::<u64>(ARENA + 60), 0, "nothing beside the buffers was written");
}

#[test]
fn a_guest_that_asks_for_ever_is_held_back() {
    let mut driver = driver();
    let start = Instant::now();
    let mut got = 0;
    // The burst is a tenth of a MiB; half a MiB more takes about half a second.
    while got < 600 << 10 {
        driver.send(0, 0, &[desc(ARENA, 1 << 20, WRITE, 0)]);
        got += driver.wait_used(0).1;
    }
    assert!(start.elapsed() > Duration::from_millis(400), "{:?}", start.elapsed());
}

#[test]
fn what_cannot_be_filled_comes_back_empty() {
    let mut driver = driver();
    for chain in [desc(ARENA, 100, 0, 0), desc(u64::MAX - 10, 100, WRITE, 0), desc(0, 0, WRITE, 0)]
    {
        driver.send(0, 0, &[chain]);
        assert_eq!(driver.wait_used(0), (0, 0));
    }
}
