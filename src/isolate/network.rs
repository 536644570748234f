//! The network of a namespace, or of a guest.

use std::io;
use std::os::fd::AsRawFd;

use nix::errno::Errno;

use crate::failure::{Failure, Step};

nix::ioctl_write_ptr_bad!(
    /// Sets an interface's flags, netdevice(7).
    set_interface_flags,
    libc::SIOCSIFFLAGS,
    libc::ifreq
);

/// Starts the loopback interface, which the kernel leaves down.
pub(crate) fn bring_loopback_up() -> Result<(), Failure> {
    let up = || -> io::Result<()> {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
        // SAFETY: the struct is made of integers and a union of such, for which zero is valid.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(*b"lo") {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_flags =
            i16::try_from(libc::IFF_UP | libc::IFF_RUNNING).map_err(|_| Errno::ERANGE)?;
        // SAFETY: the socket is open and the kernel reads one `struct ifreq` from the live value.
        unsafe { set_interface_flags(socket.as_raw_fd(), &raw const request) }?;
        Ok(())
    };
    up().step("start the loopback interface")
}
