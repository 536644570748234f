//! What went through an interface, and what did not.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// The packets of one direction.
#[derive(Debug, Default)]
pub struct Counter {
    packets: AtomicU64,
    bytes: AtomicU64,
    segmented: AtomicU64,
    dropped: AtomicU64,
}

impl Counter {
    /// A frame of this length went through; `segmented`: as several segments in one.
    pub(super) fn passed(&self, length: usize, segmented: bool) {
        self.packets.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(length as u64, Ordering::Relaxed);
        self.segmented.fetch_add(segmented.into(), Ordering::Relaxed);
    }

    /// One did not.
    pub(super) fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// How many frames went through.
    pub fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }

    /// How many bytes they had.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How many of them were several segments in one (TSO).
    pub fn segments(&self) -> u64 {
        self.segmented.load(Ordering::Relaxed)
    }

    /// How many frames, or buffers for one, were of no use.
    pub fn drops(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (packets, bytes) = (self.packets(), self.bytes());
        let (segments, drops) = (self.segments(), self.drops());
        write!(f, "{packets} packets, {bytes} bytes, {segments} large, {drops} dropped")
    }
}

/// Both directions, as the guest sees them.
#[derive(Debug, Default)]
pub struct Counters {
    /// From the host to the guest.
    pub received: Counter,
    /// From the guest to the host.
    pub sent: Counter,
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "received {}; sent {}", self.received, self.sent)
    }
}
