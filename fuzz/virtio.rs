//! Bytes as what a hostile driver of a disk does: rings, chains, registers, resets. Shared by the
//! fuzz target and the tests.

use std::cell::RefCell;

use duplex::workload::{Disk, DiskEngine};

use crate::disk::{self, Data, IN, Image, OK};
use crate::driver::{Driver, NEEDS_RESET};
use crate::steps::{QUEUE, settle, step};

const DISK: u64 = 64 << 10;

struct Target {
    _image: Image,
    driver: Driver,
}

thread_local! {
    /// One disk for all runs: a reset must make it new.
    static TARGETS: RefCell<Vec<Target>> = const { RefCell::new(Vec::new()) };
}

fn target(engine: DiskEngine) -> Target {
    let image = disk::image(DISK);
    let options = Disk { queues: 2, ..image.disk(engine) };
    Target { driver: Driver::new(disk::device(&options)), _image: image }
}

/// Does what the bytes say, resets the disk and uses it rightly.
pub(crate) fn drive(bytes: &[u8]) {
    TARGETS.with_borrow_mut(|targets| {
        if targets.is_empty() {
            targets.extend(disk::ENGINES.map(target));
        }
        let Some((first, bytes)) = bytes.split_first() else { return };
        let driver = &mut targets[usize::from(first & 1)].driver;
        // Without indirect tables, without the event index, without flushes.
        driver.start(!(u64::from(first >> 1) << 28), QUEUE);
        let mut bytes = bytes.iter().copied();
        while step(driver, &mut bytes).is_some() {}
        settle(driver);
        driver.start(u64::MAX, QUEUE);
        assert_eq!(driver.status() & NEEDS_RESET, 0);
        assert_eq!(driver.status_of(IN, 0, Data::In(512)), OK);
    });
}
