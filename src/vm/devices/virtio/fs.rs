//! The file system device (virtio 1.2, section 5.11): a directory of the host, served by another program.

use virtio_bindings::virtio_ids::VIRTIO_ID_FS;

use super::vhost_user::BackEnd;
use super::{ActivateError, Activation, VirtioDevice, read_space};

/// hiprio, for what must not wait behind requests, and one queue of requests (section 5.11.2).
const QUEUE_SIZES: [u16; QUEUES] = [256, 256];
/// How many queues there are.
pub const QUEUES: usize = 2;
/// How many of them are for requests.
const REQUEST_QUEUES: u32 = 1;
/// How long a tag may be.
pub const MAX_TAG: usize = 36;

/// The device.
pub struct Fs {
    tag: String,
    back_end: BackEnd,
}

impl Fs {
    /// What the guest finds by `tag`, of which the first [`MAX_TAG`] bytes count, is what `back_end` serves.
    pub fn new(tag: impl Into<String>, back_end: BackEnd) -> Fs {
        Fs { tag: tag.into(), back_end }
    }
}

impl VirtioDevice for Fs {
    fn device_type(&self) -> u32 {
        VIRTIO_ID_FS
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn shares_memory(&self) -> bool {
        true
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        // struct virtio_fs_config (section 5.11.4).
        let mut space = [0; MAX_TAG + 4];
        let (tag, queues) = space.split_at_mut(MAX_TAG);
        for (byte, value) in tag.iter_mut().zip(self.tag.bytes()) {
            *byte = value;
        }
        queues.copy_from_slice(&REQUEST_QUEUES.to_le_bytes());
        read_space(&space, offset, data);
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        Ok(self.back_end.start(activation)?)
    }

    fn reset(&mut self) {
        self.back_end.stop();
    }
}
