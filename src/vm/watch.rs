//! File descriptors in an event loop.

use std::os::fd::RawFd;

use event_manager::{EventOps, EventSet, Events};

/// Adds a file descriptor to the event loop. It can only fail without memory, and then the event
/// would never come: say so.
pub(super) fn watch(ops: &mut EventOps, fd: RawFd) {
    if let Err(error) = ops.add(Events::new_raw(fd, EventSet::IN)) {
        log::warn!("event loop: file descriptor {fd} cannot be watched: {error}");
    }
}
