//! Bytes as what a hostile driver does to the registers of virtio-mmio, on a device that does nothing
//! but check what the transport makes it do. Shared by the fuzz target and the tests.

use std::sync::{Arc, Mutex};

use duplex::vm::devices::MmioDevice;
use duplex::vm::devices::virtio::mmio::Transport;
use duplex::vm::devices::virtio::{ActivateError, Activation, VirtioDevice, read_space};
use virtio_bindings::virtio_mmio as reg;
use vm_memory::{GuestAddress, GuestMemoryMmap};

const MEMORY: u64 = 1 << 20;
const TYPE: u32 = 42;
const SIZES: [u16; 3] = [8, 1, 256];
/// What the device offers, and with it the transport: VIRTIO_F_VERSION_1, VIRTIO_F_INDIRECT_DESC and
/// VIRTIO_F_EVENT_IDX.
const OFFERED: u64 = 1 << 3 | 1 << 40;
const WITH_TRANSPORT: u64 = OFFERED | 1 << 32 | 1 << 28 | 1 << 29;
const SPACE: [u8; 12] = *b"twelve bytes";
const STEPS: [u32; 4] = [1, 3, 11, 15];
const NEEDS_RESET: u32 = 64;
const FAILED: u32 = 128;

/// What the device was made to do.
#[derive(Default)]
struct Seen {
    active: bool,
    activations: u32,
    refuses: bool,
}

struct Device(Arc<Mutex<Seen>>);

impl VirtioDevice for Device {
    fn device_type(&self) -> u32 {
        TYPE
    }

    fn features(&self) -> u64 {
        OFFERED
    }

    fn queue_sizes(&self) -> &[u16] {
        &SIZES
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_space(&SPACE, offset, data);
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        let mut seen = self.0.lock().unwrap();
        assert!(!seen.active, "activated twice");
        assert_eq!(activation.features & !WITH_TRANSPORT, 0);
        assert_ne!(activation.features & 1 << 32, 0, "VIRTIO_F_VERSION_1");
        let mut last = None;
        for queue in &activation.queues {
            assert!(last < Some(queue.index()), "queues out of order");
            last = Some(queue.index());
            let most = SIZES[usize::from(queue.index())];
            assert!(queue.size().is_power_of_two() && queue.size() <= most);
        }
        seen.activations += 1;
        if seen.refuses {
            let error = std::io::Error::other("for a test");
            return Err(ActivateError::Resources("everything", error));
        }
        seen.active = true;
        Ok(())
    }

    fn reset(&mut self) {
        self.0.lock().unwrap().active = false;
    }
}

/// A driver's side of the registers.
struct Driver {
    transport: Transport,
    seen: Arc<Mutex<Seen>>,
}

impl Driver {
    fn read(&self, offset: u32) -> u32 {
        let mut data = [0; 4];
        self.transport.read(offset.into(), &mut data);
        u32::from_le_bytes(data)
    }

    fn write(&self, offset: u32, value: u32) {
        self.transport.write(offset.into(), &value.to_le_bytes());
    }

    /// What holds whatever a driver does.
    fn check(&self) {
        assert_eq!(self.read(reg::VIRTIO_MMIO_MAGIC_VALUE), 0x7472_6976);
        assert_eq!(self.read(reg::VIRTIO_MMIO_VERSION), 2);
        assert_eq!(self.read(reg::VIRTIO_MMIO_DEVICE_ID), TYPE);
        let status = self.read(reg::VIRTIO_MMIO_STATUS);
        let steps = status & !(NEEDS_RESET | FAILED);
        assert!(steps == 0 || STEPS.contains(&steps), "steps out of order: {status:#x}");
        let seen = self.seen.lock().unwrap();
        assert!(!seen.active || steps == 15, "active with {status:#x}");
        // Not active although the driver has said that it is ready: then it was told.
        assert!(seen.active || steps != 15 || status & NEEDS_RESET != 0, "{status:#x}");
        drop(seen);
        let interrupt = self.read(reg::VIRTIO_MMIO_INTERRUPT_STATUS);
        assert_eq!(interrupt & !3, 0);
    }
}

/// Does what the bytes say, and then what a good driver does.
pub(crate) fn drive(bytes: &[u8]) {
    let size = usize::try_from(MEMORY).unwrap();
    let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), size)]).unwrap();
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let device = Box::new(Device(seen.clone()));
    let driver = Driver { transport: Transport::new(device, memory).unwrap(), seen };
    let mut bytes = bytes.iter().copied();
    while step(&driver, &mut bytes).is_some() {
        driver.check();
    }
    start_rightly(&driver);
}

fn step(driver: &Driver, bytes: &mut impl Iterator<Item = u8>) -> Option<()> {
    let mut byte = || bytes.next();
    let operation = byte()?;
    match operation % 8 {
        // A step of the status, as a good driver makes them.
        0 => driver.write(reg::VIRTIO_MMIO_STATUS, STEPS[usize::from(operation >> 3) % 4]),
        1 => driver.write(reg::VIRTIO_MMIO_STATUS, byte()?.into()),
        // A register that means something, with a value that does.
        2 | 3 => {
            let offset = u32::from(byte()? % 64) * 4;
            let value = u32::from(byte()?) << (operation >> 3);
            driver.write(offset, value);
        }
        // A queue that is fine, made ready or not.
        4 => {
            let index = operation >> 3;
            driver.write(reg::VIRTIO_MMIO_QUEUE_SEL, index.into());
            driver.write(reg::VIRTIO_MMIO_QUEUE_NUM, 1 << (byte()? % 10));
            for (ring, register) in [0x80, 0x90, 0xA0].into_iter().enumerate() {
                driver.write(register, u32::try_from(ring).unwrap() << 16);
            }
            driver.write(reg::VIRTIO_MMIO_QUEUE_READY, 1);
        }
        5 => {
            driver.write(reg::VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
            driver.write(reg::VIRTIO_MMIO_DRIVER_FEATURES, 1 | u32::from(byte()?) << 8);
        }
        // Anything, anywhere, in any width.
        6 => {
            let offset = u64::from(u16::from_le_bytes([byte()?, byte()?]) & 0xFFF);
            let data: Vec<u8> = (0..operation >> 3).map_while(|_| byte()).collect();
            driver.transport.write(offset, &data);
            let mut read = data.clone();
            driver.transport.read(offset, &mut read);
        }
        _ => {
            let refuses = operation & 0x80 != 0;
            driver.seen.lock().unwrap().refuses = refuses;
        }
    }
    Some(())
}

/// A reset makes everything as it was at first, and a device that is started as it should be works.
fn start_rightly(driver: &Driver) {
    let before = driver.seen.lock().unwrap().activations;
    driver.seen.lock().unwrap().refuses = false;
    driver.write(reg::VIRTIO_MMIO_STATUS, 0);
    assert_eq!(driver.read(reg::VIRTIO_MMIO_STATUS), 0);
    assert_eq!(driver.read(reg::VIRTIO_MMIO_INTERRUPT_STATUS), 0);
    for (queue, most) in (0..).zip(SIZES) {
        driver.write(reg::VIRTIO_MMIO_QUEUE_SEL, queue);
        assert_eq!(driver.read(reg::VIRTIO_MMIO_QUEUE_NUM_MAX), u32::from(most));
        assert_eq!(driver.read(reg::VIRTIO_MMIO_QUEUE_READY), 0);
    }
    let offered = [0, 1].map(|half| {
        driver.write(reg::VIRTIO_MMIO_DEVICE_FEATURES_SEL, half);
        u64::from(driver.read(reg::VIRTIO_MMIO_DEVICE_FEATURES)) << (32 * half)
    });
    assert_eq!(offered[0] | offered[1], WITH_TRANSPORT);
    driver.write(reg::VIRTIO_MMIO_STATUS, 1);
    driver.write(reg::VIRTIO_MMIO_STATUS, 3);
    driver.write(reg::VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
    driver.write(reg::VIRTIO_MMIO_DRIVER_FEATURES, 1);
    driver.write(reg::VIRTIO_MMIO_STATUS, 11);
    driver.write(reg::VIRTIO_MMIO_STATUS, 15);
    assert_eq!(driver.read(reg::VIRTIO_MMIO_STATUS), 15);
    let seen = driver.seen.lock().unwrap();
    assert!(seen.active && seen.activations == before + 1);
}
