//! The block device's features and configuration space (virtio 1.2, sections 5.2.3 and 5.2.4).

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_MQ,
    VIRTIO_BLK_F_RO, VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_SIZE_MAX, VIRTIO_BLK_F_TOPOLOGY,
    VIRTIO_BLK_F_WRITE_ZEROES,
};

use super::backing::Backing;

/// Its size in bytes.
pub(super) const SIZE: usize = 60;
/// The most bytes of one segment: larger than any that Linux makes on its own.
const SIZE_MAX: u32 = 4 << 20;
/// The most sectors that one discard or write-zeroes may name: 1 GiB.
pub(super) const MAX_ERASED: u32 = 1 << 21;

/// The features that a disk offers.
pub(super) fn features(backing: &Backing, queues: u16) -> u64 {
    let mut features = 1 << VIRTIO_BLK_F_SIZE_MAX
        | 1 << VIRTIO_BLK_F_SEG_MAX
        | 1 << VIRTIO_BLK_F_BLK_SIZE
        | 1 << VIRTIO_BLK_F_TOPOLOGY
        | 1 << VIRTIO_BLK_F_FLUSH;
    if backing.read_only {
        features |= 1 << VIRTIO_BLK_F_RO;
    }
    if backing.punches_holes {
        features |= 1 << VIRTIO_BLK_F_DISCARD | 1 << VIRTIO_BLK_F_WRITE_ZEROES;
    }
    if queues > 1 {
        features |= 1 << VIRTIO_BLK_F_MQ;
    }
    features
}

/// The configuration space, little-endian; what stays zero is not offered.
pub(super) fn space(backing: &Backing, queues: u16, queue_size: u16) -> [u8; SIZE] {
    let mut space = [0; SIZE];
    let mut put = |offset: usize, bytes: &[u8]| {
        for (to, from) in space.iter_mut().skip(offset).zip(bytes) {
            *to = *from;
        }
    };
    let (logical, physical) = (backing.logical_block, backing.physical_block);
    let exponent = u8::try_from((physical / logical).trailing_zeros()).unwrap_or(0);
    let blocks = u16::try_from(physical / logical).unwrap_or(1);
    put(0, &backing.sectors.to_le_bytes());
    put(8, &SIZE_MAX.to_le_bytes());
    // A request without an indirect table has two more descriptors: its header and its status.
    put(12, &u32::from(queue_size - 2).to_le_bytes());
    put(20, &logical.to_le_bytes());
    put(24, &[exponent]);
    put(26, &blocks.to_le_bytes());
    put(34, &queues.to_le_bytes());
    put(36, &MAX_ERASED.to_le_bytes());
    put(40, &1_u32.to_le_bytes());
    put(44, &(physical / 512).to_le_bytes());
    put(48, &MAX_ERASED.to_le_bytes());
    put(52, &1_u32.to_le_bytes());
    // Write-zeroes may make a hole.
    put(56, &[1]);
    space
}
