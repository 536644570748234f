//! Where packets go: what a device needs of a tap or of passt.

use std::io;
use std::os::fd::RawFd;

use super::header::{Header, Offloads};

/// The largest frame that anybody sends: a segment of 64 KiB and its Ethernet header with a VLAN tag.
pub(super) const MAX_FRAME: usize = 65535 + 18;

/// What came of a look for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A frame of this length lies in the room for it.
    Frame(usize),
    /// There was one that did not fit; it is gone.
    TooLong,
    /// There is none, or not all of it: look again when the file descriptor says so.
    Nothing,
}

/// One end of a link to the host. Nothing here blocks.
pub trait Link: Send {
    /// Becomes readable when there may be frames, and writable when some may be sent again.
    fn fd(&self) -> RawFd;

    /// Whether it takes and gives frames with checksums and segments left open.
    fn offloads(&self) -> bool;

    /// The driver is ready to receive what these offloads allow.
    ///
    /// # Errors
    /// What the host said.
    fn start(&mut self, driver: Offloads) -> io::Result<()>;

    /// Sends a frame. `false`: it takes no more now; the same frame must be offered again.
    ///
    /// # Errors
    /// [`is_gone`] tells whether the link is; else only this frame failed.
    fn send(&mut self, header: &Header, frame: &[libc::iovec]) -> io::Result<bool>;

    /// Receives the next frame into `room`. After [`Received::Nothing`] the room must begin the same
    /// the next time.
    ///
    /// # Errors
    /// The link is gone.
    fn receive(&mut self, header: &mut Header, room: &[libc::iovec]) -> io::Result<Received>;

    /// The device is reset: a frame that is half sent or half received is given up.
    fn stop(&mut self);
}

/// Whether an error of [`Link::send`] says that there is nobody any more.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EBADFD | libc::EPIPE | libc::ECONNRESET | libc::ENODEV | libc::ENOTCONN)
    )
}

/// How many bytes there are.
pub(super) fn total(iovecs: &[libc::iovec]) -> usize {
    iovecs.iter().map(|iovec| iovec.iov_len).sum()
}
