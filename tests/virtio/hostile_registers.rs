//! Registers and configuration space, read and written in every way.

use duplex::vm::devices::MmioDevice;
use duplex::vm::devices::virtio::event_thread::EventThread;
use duplex::vm::devices::virtio::rng::Rng;
use duplex::vm::layout::VIRTIO_SLOT_SIZE;
use duplex::workload::{Disk, DiskEngine};
use proptest::prelude::*;

use crate::disk::{ALL, Data, IN, OK, device, image};
use crate::driver::{Driver, NEEDS_RESET};

#[test]
fn every_width_at_every_offset_is_answered() {
    let image = image(1 << 20);
    let driver = Driver::ready(device(&image.disk(DiskEngine::Threads)), ALL, 8);
    let mut whole = [0; 64];
    driver.transport.read(0x100, &mut whole);
    assert_eq!(whole[..8], 2048_u64.to_le_bytes());
    for offset in 0..VIRTIO_SLOT_SIZE {
        for width in [1, 2, 4, 8] {
            let mut data = vec![0x55; width];
            driver.transport.read(offset, &mut data);
            if let Some(offset) = offset.checked_sub(0x100) {
                // The configuration space, byte by byte, and zeroes behind it.
                let offset = usize::try_from(offset).unwrap();
                let expected: Vec<u8> = (offset..offset + width)
                    .map(|at| whole.get(at).copied().unwrap_or(0))
                    .collect();
                assert_eq!(data, expected, "{offset:#x}");
            } else if width != 4 || offset % 4 != 0 {
                assert!(data.iter().all(|byte| *byte == 0xFF), "{offset:#x} {width}");
            }
        }
    }
}

#[test]
fn the_configuration_cannot_be_written() {
    let image = image(1 << 20);
    let mut driver = Driver::ready(device(&image.disk(DiskEngine::Threads)), ALL, 8);
    let read = |driver: &Driver| {
        let mut space = [0; 64];
        driver.transport.read(0x100, &mut space);
        space
    };
    let before = read(&driver);
    for offset in 0x100..0x180 {
        for width in [1, 2, 4, 8] {
            driver.transport.write(offset, &vec![0xA5; width]);
        }
    }
    driver.transport.write(u64::MAX, &[1, 2, 3, 4]);
    assert_eq!(read(&driver), before);
    assert_eq!(driver.status_of(IN, 0, Data::In(512)), OK);
}

#[test]
fn kicks_on_queues_that_do_not_exist_are_nothing() {
    let image = image(1 << 20);
    let mut driver = Driver::ready(device(&image.disk(DiskEngine::Threads)), ALL, 8);
    for queue in [1, 2, 255, 0xFFFF] {
        driver.kick(queue);
    }
    driver.transport.write(0x50, &[0]);
    driver.transport.write(0x50, &[0; 8]);
    assert_eq!(driver.status_of(IN, 0, Data::In(512)), OK);
}

#[test]
fn kicks_before_the_driver_is_ready_are_nothing() {
    let image = image(1 << 20);
    let mut driver = Driver::new(device(&image.disk(DiskEngine::Threads)));
    driver.kick(0);
    driver.negotiate(ALL);
    driver.kick(0);
    assert_eq!(driver.interrupt_within(std::time::Duration::from_millis(20)), None);
    driver.start(ALL, 8);
    assert_eq!(driver.status_of(IN, 0, Data::In(512)), OK);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any writes at all, and then a driver that does it right.
    #[test]
    fn no_writes_make_a_device_unusable(
        disk: bool,
        writes in proptest::collection::vec((0_u64..0x140, any::<u32>(), 0_u8..20), 0..200),
    ) {
        let image = image(1 << 20);
        let queues = Disk { queues: 2, ..image.disk(DiskEngine::Threads) };
        let mut driver = if disk {
            Driver::new(device(&queues))
        } else {
            Driver::new(Box::new(Rng::new(EventThread::start("test").unwrap().into())))
        };
        for (offset, value, telling) in writes {
            // Values that mean something come up often enough to get far.
            let value = match telling {
                0 => 1, 1 => 3, 2 => 11, 3 => 15, 4 => 0, 5 => 1 << 29, 6 => 8, 7 => 0x1000,
                _ => value,
            };
            driver.transport.write(offset & !3, &value.to_le_bytes());
            let mut data = [0; 4];
            driver.transport.read(offset, &mut data);
        }
        driver.start(ALL, 8);
        prop_assert_eq!(driver.status() & NEEDS_RESET, 0);
        if disk {
            prop_assert_eq!(driver.status_of(IN, 0, Data::In(512)), OK);
        }
    }
}
