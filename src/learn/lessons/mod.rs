//! The lessons, a file each: what each says, asks and checks.

pub(super) mod cpuid;
pub(super) mod halt;
pub(super) mod long_mode;
pub(super) mod mmio;
pub(super) mod page_fault;
pub(super) mod port_output;
pub(super) mod protected_mode;
pub(super) mod timer;
pub(super) mod triple_fault;
pub(super) mod two_processors;
pub(super) mod user_mode;
pub(super) mod virtqueue;

/// What the build has assembled from `guest-images/lessons`.
mod embedded {
    use crate::learn::program::Embedded;

    include!(concat!(env!("OUT_DIR"), "/lessons.rs"));
}
