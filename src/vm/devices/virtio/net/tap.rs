//! A tap device of the host (Linux, Documentation/networking/tuntap.rst), found by its name. Each
//! packet is one system call, with the header that virtio has.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use nix::net::if_::if_nametoindex;
use thiserror::Error;

use super::header::{Header, Offloads, SIZE};
use super::link::{Link, Received, total};
use super::tuntap::{
    DEVICE, TUN_F_CSUM, TUN_F_TSO_ECN, TUN_F_TSO4, TUN_F_TSO6, TUNSETOFFLOAD, TUNSETVNETHDRSZ,
    attach, ifreq, ioctl, open,
};
use crate::host;
use crate::vm::devices::virtio::iovecs::IoVecs;

/// Why a tap cannot be used.
#[derive(Debug, Error)]
pub enum TapError {
    /// There is no interface of this name.
    #[error(
        "there is no tap {0}: make it as root by 'ip tuntap add {0} mode tap user {1}' and 'ip \
         link set {0} up'"
    )]
    Missing(String, String),
    /// Somebody has it open.
    #[error("tap {0} is in use: end the VM that has it, or give another")]
    InUse(String),
    /// It belongs to another user.
    #[error(
        "tap {0} does not belong to this user: make it anew as root by 'ip tuntap add {0} mode \
         tap user {1}'"
    )]
    NotPermitted(String, String),
    /// It is a card, a bridge or the like.
    #[error("{0} is no tap: give one ('ip tuntap list' shows them)")]
    NoTap(String),
    /// /dev/net/tun is not there or may not be opened.
    #[error("tap {0}: {DEVICE} cannot be opened: {1} ('duplex doctor' tells more)")]
    Device(String, #[source] io::Error),
    /// Packets of the guest would be larger than the tap's.
    #[error("tap {0} has an MTU of {1}, less than {2}: 'ip link set {0} mtu {2}', or give less")]
    Mtu(String, u32, u16),
    /// The kernel said no to something else.
    #[error("tap {0} cannot be {1}: {2}")]
    Refused(String, &'static str, #[source] io::Error),
}

/// The tap, opened.
pub struct Tap {
    file: File,
    mtu: u16,
    iovecs: IoVecs,
}

impl Tap {
    /// Opens the tap of this name.
    ///
    /// # Errors
    /// As [`TapError`] has them; `mtu`, where given, must not be more than the tap's.
    pub fn open(name: &str, mtu: Option<u16>) -> Result<Tap, TapError> {
        let own = || name.to_owned();
        let refused = |what| move |error| TapError::Refused(name.to_owned(), what, error);
        // To open a name that nobody has would make a tap, for whoever may.
        if if_nametoindex(name).is_err() {
            return Err(TapError::Missing(own(), user()));
        }
        let file = open().map_err(|error| TapError::Device(own(), error))?;
        let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
        let mut attached = attach(&file, name, flags);
        if attached.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EINVAL)) {
            // A tap of several queues is attached by one of them.
            attached = attach(&file, name, flags | libc::IFF_MULTI_QUEUE);
        }
        attached.map_err(|error| match error.raw_os_error() {
            Some(libc::EBUSY) => TapError::InUse(own()),
            Some(libc::EPERM) => TapError::NotPermitted(own(), user()),
            Some(libc::EINVAL) => TapError::NoTap(own()),
            _ => refused("attached")(error),
        })?;
        let mut size = libc::c_int::try_from(SIZE).unwrap_or_default();
        ioctl(&file, TUNSETVNETHDRSZ, (&raw mut size).cast()).map_err(refused("set up"))?;
        let interface = Interface::of(name).map_err(refused("asked for its MTU"))?;
        if !interface.up {
            log::warn!("tap {name} is down: 'ip link set {name} up' lets packets through");
        }
        if let Some(mtu) = mtu.filter(|mtu| u32::from(*mtu) > interface.mtu) {
            return Err(TapError::Mtu(own(), interface.mtu, mtu));
        }
        let mtu = mtu.or_else(|| u16::try_from(interface.mtu).ok()).unwrap_or(u16::MAX);
        Ok(Tap { file, mtu, iovecs: IoVecs::default() })
    }

    /// The MTU that the guest is to have.
    pub fn mtu(&self) -> u16 {
        self.mtu
    }
}

/// Who runs this, for a message.
fn user() -> String {
    let uid = nix::unistd::geteuid().as_raw();
    host::user_name(uid).unwrap_or_else(|| uid.to_string())
}

struct Interface {
    mtu: u32,
    up: bool,
}

impl Interface {
    fn of(name: &str) -> io::Result<Interface> {
        // Any socket tells of interfaces.
        let socket = std::os::unix::net::UnixDatagram::unbound()?;
        let mut request = ifreq(name);
        ioctl(&socket, libc::SIOCGIFMTU, (&raw mut request).cast())?;
        // SAFETY: the kernel has filled this field; any bits are a number.
        let mtu = unsafe { request.ifr_ifru.ifru_mtu };
        let mut request = ifreq(name);
        ioctl(&socket, libc::SIOCGIFFLAGS, (&raw mut request).cast())?;
        // SAFETY: as above.
        let flags = libc::c_int::from(unsafe { request.ifr_ifru.ifru_flags });
        Ok(Interface { mtu: u32::try_from(mtu).unwrap_or(0), up: flags & libc::IFF_UP != 0 })
    }
}

impl Link for Tap {
    fn fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    fn offloads(&self) -> bool {
        true
    }

    fn start(&mut self, driver: Offloads) -> io::Result<()> {
        let mut bits = 0;
        for (on, bit) in [
            (driver.checksum, TUN_F_CSUM),
            (driver.tso4, TUN_F_TSO4),
            (driver.tso6, TUN_F_TSO6),
            (driver.ecn, TUN_F_TSO_ECN),
        ] {
            bits |= if on { bit } else { 0 };
        }
        let argument = std::ptr::without_provenance_mut(usize::try_from(bits).unwrap_or(0));
        ioctl(&self.file, TUNSETOFFLOAD, argument)
    }

    fn send(&mut self, header: &Header, frame: &[libc::iovec]) -> io::Result<bool> {
        let mut header = *header;
        self.iovecs.clear();
        self.iovecs.add_own(&mut header.0);
        self.iovecs.extend(frame, 0, usize::MAX);
        let iovecs = self.iovecs.all();
        let count = i32::try_from(iovecs.len()).unwrap_or(i32::MAX);
        // SAFETY: the iovecs are the header on this stack and guest memory that is mapped as long as
        // the device; the kernel only reads them.
        let sent = unsafe { libc::writev(self.file.as_raw_fd(), iovecs.as_ptr(), count) };
        if sent >= 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock => Ok(false),
            _ => Err(error),
        }
    }

    fn receive(&mut self, header: &mut Header, room: &[libc::iovec]) -> io::Result<Received> {
        // What does not fit is cut off by the kernel: one byte more shows that.
        let mut beyond = [0];
        self.iovecs.clear();
        self.iovecs.add_own(&mut header.0);
        self.iovecs.extend(room, 0, usize::MAX);
        self.iovecs.add_own(&mut beyond);
        let iovecs = self.iovecs.all();
        let count = i32::try_from(iovecs.len()).unwrap_or(i32::MAX);
        // SAFETY: the iovecs are bytes on this stack, the caller's header, and guest memory that is
        // mapped as long as the device, may change at any time and is not borrowed.
        let got = unsafe { libc::readv(self.file.as_raw_fd(), iovecs.as_ptr(), count) };
        let Ok(got) = usize::try_from(got) else {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(Received::Nothing),
                _ => Err(error),
            };
        };
        let length = got.saturating_sub(SIZE);
        Ok(if length > total(room) { Received::TooLong } else { Received::Frame(length) })
    }

    fn stop(&mut self) {}
}
