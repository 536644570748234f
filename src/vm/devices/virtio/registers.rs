//! The registers of virtio-mmio, version 2 (virtio 1.2, section 4.2.2), and the status machine that
//! a driver walks a device through (sections 2.1 and 3.1). Pure: what a write asks for is returned.

use virtio_bindings::virtio_config::{
    VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_CONFIG_S_DRIVER, VIRTIO_CONFIG_S_DRIVER_OK,
    VIRTIO_CONFIG_S_FAILED, VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_F_VERSION_1,
};
use virtio_bindings::virtio_mmio as reg;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};

use super::queue::{Rings, has};

/// "virt", little-endian.
const MAGIC: u32 = 0x7472_6976;
const VERSION: u32 = 2;
/// Nobody checks it: "DPLX".
const VENDOR: u32 = 0x584C_5044;

/// What every device here offers.
const COMMON_FEATURES: u64 =
    1 << VIRTIO_F_VERSION_1 | 1 << VIRTIO_RING_F_EVENT_IDX | 1 << VIRTIO_RING_F_INDIRECT_DESC;
/// What a driver may set; the rest of the status is the device's own or means nothing.
const DRIVER_BITS: u32 = VIRTIO_CONFIG_S_ACKNOWLEDGE
    | VIRTIO_CONFIG_S_DRIVER
    | VIRTIO_CONFIG_S_FEATURES_OK
    | VIRTIO_CONFIG_S_DRIVER_OK
    | VIRTIO_CONFIG_S_FAILED;

/// What a write to a register asks of the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    None,
    /// The driver is ready.
    Activate,
    /// The driver wants the device as it was at first.
    Reset,
    /// Buffers are available in this queue.
    Notify(u16),
    /// The driver takes a queue away from the device while it works.
    Stop,
}

/// One queue's registers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct QueueRegisters {
    pub(super) max_size: u16,
    pub(super) ready: bool,
    pub(super) rings: Rings,
}

/// All registers but those that the interrupt answers (`mmio.rs`).
#[derive(Debug)]
pub(super) struct Registers {
    device_type: u32,
    offered: u64,
    status: u32,
    device_features_sel: u32,
    driver_features_sel: u32,
    accepted: u64,
    /// The driver accepted a feature beyond the 64 that there are.
    accepted_beyond: bool,
    queue_sel: u32,
    queues: Vec<QueueRegisters>,
}

impl Registers {
    pub(super) fn new(device_type: u32, features: u64, queue_sizes: &[u16]) -> Self {
        let queue = |max_size: &u16| QueueRegisters { max_size: *max_size, ..Default::default() };
        Registers {
            device_type,
            offered: features | COMMON_FEATURES,
            status: 0,
            device_features_sel: 0,
            driver_features_sel: 0,
            accepted: 0,
            accepted_beyond: false,
            queue_sel: 0,
            queues: queue_sizes.iter().map(queue).collect(),
        }
    }

    /// The features that both sides agreed on.
    pub(super) fn features(&self) -> u64 {
        self.accepted
    }

    /// The queues as the driver wrote them.
    pub(super) fn queues(&self) -> &[QueueRegisters] {
        &self.queues
    }

    /// As it was at first.
    pub(super) fn reset(&mut self) {
        let sizes: Vec<u16> = self.queues.iter().map(|queue| queue.max_size).collect();
        *self = Registers::new(self.device_type, self.offered, &sizes);
    }

    /// What the register at `offset` holds. Those that are only written read as zero.
    pub(super) fn read(&self, offset: u32) -> u32 {
        match offset {
            reg::VIRTIO_MMIO_MAGIC_VALUE => MAGIC,
            reg::VIRTIO_MMIO_VERSION => VERSION,
            reg::VIRTIO_MMIO_DEVICE_ID => self.device_type,
            reg::VIRTIO_MMIO_VENDOR_ID => VENDOR,
            reg::VIRTIO_MMIO_DEVICE_FEATURES => match self.device_features_sel {
                0 => low(self.offered),
                1 => high(self.offered),
                _ => 0,
            },
            reg::VIRTIO_MMIO_QUEUE_NUM_MAX => self.queue().map_or(0, |queue| queue.max_size.into()),
            reg::VIRTIO_MMIO_QUEUE_READY => self.queue().map_or(0, |queue| queue.ready.into()),
            reg::VIRTIO_MMIO_STATUS => self.status,
            // No shared memory regions: their length and address are all ones.
            reg::VIRTIO_MMIO_SHM_LEN_LOW
            | reg::VIRTIO_MMIO_SHM_LEN_HIGH
            | reg::VIRTIO_MMIO_SHM_BASE_LOW
            | reg::VIRTIO_MMIO_SHM_BASE_HIGH => u32::MAX,
            _ => 0,
        }
    }

    /// Takes a value into the register at `offset`. Where the status does not allow it, nothing
    /// happens.
    pub(super) fn write(&mut self, offset: u32, value: u32) -> Effect {
        match offset {
            reg::VIRTIO_MMIO_DEVICE_FEATURES_SEL => self.device_features_sel = value,
            reg::VIRTIO_MMIO_DRIVER_FEATURES_SEL => self.driver_features_sel = value,
            reg::VIRTIO_MMIO_DRIVER_FEATURES => self.accept(value),
            reg::VIRTIO_MMIO_QUEUE_SEL => self.queue_sel = value,
            reg::VIRTIO_MMIO_QUEUE_NOTIFY => {
                return match u16::try_from(value) {
                    Ok(index) if usize::from(index) < self.queues.len() => Effect::Notify(index),
                    _ => Effect::None,
                };
            }
            reg::VIRTIO_MMIO_STATUS => return self.set_status(value),
            reg::VIRTIO_MMIO_QUEUE_READY if self.is(VIRTIO_CONFIG_S_DRIVER_OK) => {
                return self.take_queue_away(value);
            }
            _ => self.set_up_queue(offset, value),
        }
        Effect::None
    }

    fn queue(&self) -> Option<&QueueRegisters> {
        self.queues.get(usize::try_from(self.queue_sel).ok()?)
    }

    fn is(&self, bit: u32) -> bool {
        self.status & bit != 0
    }

    fn accept(&mut self, value: u32) {
        if !self.is(VIRTIO_CONFIG_S_DRIVER) || self.is(VIRTIO_CONFIG_S_FEATURES_OK) {
            return;
        }
        match self.driver_features_sel {
            0 => set_low(&mut self.accepted, value),
            1 => set_high(&mut self.accepted, value),
            _ => self.accepted_beyond |= value != 0,
        }
    }

    /// Queues are set up between FEATURES_OK and DRIVER_OK, and stay as they are once they are
    /// ready: to change one, the driver makes it not ready first.
    fn set_up_queue(&mut self, offset: u32, value: u32) {
        if !self.is(VIRTIO_CONFIG_S_FEATURES_OK) || self.is(VIRTIO_CONFIG_S_DRIVER_OK) {
            return;
        }
        let selected = usize::try_from(self.queue_sel).ok();
        let Some(queue) = selected.and_then(|index| self.queues.get_mut(index)) else { return };
        let rings = &mut queue.rings;
        match offset {
            reg::VIRTIO_MMIO_QUEUE_READY => queue.ready = value & 1 != 0,
            _ if queue.ready => {}
            reg::VIRTIO_MMIO_QUEUE_NUM => rings.size = value,
            reg::VIRTIO_MMIO_QUEUE_DESC_LOW => set_low(&mut rings.descriptors, value),
            reg::VIRTIO_MMIO_QUEUE_DESC_HIGH => set_high(&mut rings.descriptors, value),
            reg::VIRTIO_MMIO_QUEUE_AVAIL_LOW => set_low(&mut rings.available, value),
            reg::VIRTIO_MMIO_QUEUE_AVAIL_HIGH => set_high(&mut rings.available, value),
            reg::VIRTIO_MMIO_QUEUE_USED_LOW => set_low(&mut rings.used, value),
            reg::VIRTIO_MMIO_QUEUE_USED_HIGH => set_high(&mut rings.used, value),
            _ => {}
        }
    }

    /// A driver stops using a queue by writing zero to QueueReady and reading that back (section
    /// 4.2.2.2); the device must not touch the queue from then on. Without VIRTIO_F_RING_RESET no queue
    /// comes back before the device is reset, so the device stops as a whole.
    fn take_queue_away(&mut self, value: u32) -> Effect {
        let selected = usize::try_from(self.queue_sel).ok();
        match selected.and_then(|index| self.queues.get_mut(index)) {
            Some(queue) if queue.ready && value & 1 == 0 => {
                queue.ready = false;
                Effect::Stop
            }
            _ => Effect::None,
        }
    }

    fn set_status(&mut self, value: u32) -> Effect {
        if value == 0 {
            return Effect::Reset;
        }
        let wanted = value & DRIVER_BITS;
        // A driver only ever adds bits; a failed one only resets.
        if wanted & self.status != self.status || self.is(VIRTIO_CONFIG_S_FAILED) {
            return Effect::None;
        }
        let mut added = wanted & !self.status;
        if wanted & VIRTIO_CONFIG_S_FAILED != 0 {
            self.status |= VIRTIO_CONFIG_S_FAILED;
            return Effect::None;
        }
        if !in_order(wanted) {
            return Effect::None;
        }
        if added & VIRTIO_CONFIG_S_FEATURES_OK != 0 && !self.features_are_fine() {
            // The driver reads the status back to see whether the bit stayed.
            added &= !(VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
        }
        self.status |= added;
        if added & VIRTIO_CONFIG_S_DRIVER_OK != 0 { Effect::Activate } else { Effect::None }
    }

    fn features_are_fine(&self) -> bool {
        !self.accepted_beyond
            && self.accepted & !self.offered == 0
            && has(self.accepted, VIRTIO_F_VERSION_1)
    }
}

/// Whether every bit comes with those that go before it (section 3.1.1).
fn in_order(status: u32) -> bool {
    let steps = [
        VIRTIO_CONFIG_S_ACKNOWLEDGE,
        VIRTIO_CONFIG_S_DRIVER,
        VIRTIO_CONFIG_S_FEATURES_OK,
        VIRTIO_CONFIG_S_DRIVER_OK,
    ];
    steps.windows(2).all(|pair| match pair {
        [before, after] => status & after == 0 || status & before != 0,
        _ => true,
    })
}

fn low(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

fn high(value: u64) -> u32 {
    low(value >> 32)
}

fn set_low(value: &mut u64, low: u32) {
    *value = *value >> 32 << 32 | u64::from(low);
}

fn set_high(value: &mut u64, high: u32) {
    *value = u64::from(high) << 32 | *value & u64::from(u32::MAX);
}

#[cfg(test)]
#[path = "registers_tests.rs"]
mod tests;
