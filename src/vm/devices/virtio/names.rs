//! What virtio devices and the registers of their transport are called, for people.

use virtio_bindings::virtio_ids as id;
use virtio_bindings::virtio_mmio as reg;

use crate::vm::devices::RegisterNames;

/// A device's type in words.
pub(super) fn device(device_type: u32) -> &'static str {
    match device_type {
        id::VIRTIO_ID_NET => "virtio-net",
        id::VIRTIO_ID_BLOCK => "virtio-blk",
        id::VIRTIO_ID_CONSOLE => "virtio-console",
        id::VIRTIO_ID_RNG => "virtio-rng",
        id::VIRTIO_ID_BALLOON => "virtio-balloon",
        id::VIRTIO_ID_VSOCK => "virtio-vsock",
        id::VIRTIO_ID_FS => "virtio-fs",
        _ => "virtio device",
    }
}

/// The transport's registers (virtio 1.2, section 4.2.2), with its own names, and the configuration space.
pub(super) fn registers() -> Vec<RegisterNames> {
    let names = [
        (reg::VIRTIO_MMIO_MAGIC_VALUE, "MagicValue"),
        (reg::VIRTIO_MMIO_VERSION, "Version"),
        (reg::VIRTIO_MMIO_DEVICE_ID, "DeviceID"),
        (reg::VIRTIO_MMIO_VENDOR_ID, "VendorID"),
        (reg::VIRTIO_MMIO_DEVICE_FEATURES, "DeviceFeatures"),
        (reg::VIRTIO_MMIO_DEVICE_FEATURES_SEL, "DeviceFeaturesSel"),
        (reg::VIRTIO_MMIO_DRIVER_FEATURES, "DriverFeatures"),
        (reg::VIRTIO_MMIO_DRIVER_FEATURES_SEL, "DriverFeaturesSel"),
        (reg::VIRTIO_MMIO_QUEUE_SEL, "QueueSel"),
        (reg::VIRTIO_MMIO_QUEUE_NUM_MAX, "QueueNumMax"),
        (reg::VIRTIO_MMIO_QUEUE_NUM, "QueueNum"),
        (reg::VIRTIO_MMIO_QUEUE_READY, "QueueReady"),
        (reg::VIRTIO_MMIO_QUEUE_NOTIFY, "QueueNotify"),
        (reg::VIRTIO_MMIO_INTERRUPT_STATUS, "InterruptStatus"),
        (reg::VIRTIO_MMIO_INTERRUPT_ACK, "InterruptACK"),
        (reg::VIRTIO_MMIO_STATUS, "Status"),
        (reg::VIRTIO_MMIO_QUEUE_DESC_LOW, "QueueDescLow"),
        (reg::VIRTIO_MMIO_QUEUE_DESC_HIGH, "QueueDescHigh"),
        (reg::VIRTIO_MMIO_QUEUE_AVAIL_LOW, "QueueDriverLow"),
        (reg::VIRTIO_MMIO_QUEUE_AVAIL_HIGH, "QueueDriverHigh"),
        (reg::VIRTIO_MMIO_QUEUE_USED_LOW, "QueueDeviceLow"),
        (reg::VIRTIO_MMIO_QUEUE_USED_HIGH, "QueueDeviceHigh"),
        (reg::VIRTIO_MMIO_SHM_SEL, "SHMSel"),
        (reg::VIRTIO_MMIO_SHM_LEN_LOW, "SHMLenLow"),
        (reg::VIRTIO_MMIO_SHM_LEN_HIGH, "SHMLenHigh"),
        (reg::VIRTIO_MMIO_SHM_BASE_LOW, "SHMBaseLow"),
        (reg::VIRTIO_MMIO_SHM_BASE_HIGH, "SHMBaseHigh"),
        (reg::VIRTIO_MMIO_CONFIG_GENERATION, "ConfigGeneration"),
        (reg::VIRTIO_MMIO_CONFIG, "configuration space"),
    ];
    names.map(|(offset, name)| (offset.into(), name, name)).into()
}
