//! What Linux's driver for taps is told (linux/if_tun.h), and how a tap is made that stays.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

/// The device that taps are had by.
pub(super) const DEVICE: &str = "/dev/net/tun";

// linux/if_tun.h.
const TUNSETIFF: libc::c_ulong = 0x4004_54CA;
const TUNSETPERSIST: libc::c_ulong = 0x4004_54CB;
const TUNSETOWNER: libc::c_ulong = 0x4004_54CC;
pub(super) const TUNSETOFFLOAD: libc::c_ulong = 0x4004_54D0;
pub(super) const TUNSETVNETHDRSZ: libc::c_ulong = 0x4004_54D8;
pub(super) const TUN_F_CSUM: libc::c_ulong = 1;
pub(super) const TUN_F_TSO4: libc::c_ulong = 2;
pub(super) const TUN_F_TSO6: libc::c_ulong = 4;
pub(super) const TUN_F_TSO_ECN: libc::c_ulong = 8;

/// An ioctl whose argument is, or points to, what the request wants.
pub(super) fn ioctl(
    file: &impl AsRawFd,
    request: libc::c_ulong,
    argument: *mut libc::c_void,
) -> io::Result<()> {
    // SAFETY: all callers, here and in `tap`, give what the request wants: a valid pointer to an int or
    // an ifreq, which the kernel reads or writes, or a number.
    match unsafe { libc::ioctl(file.as_raw_fd(), request, argument) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// An ifreq for the interface of this name, which is short enough.
pub(super) fn ifreq(name: &str) -> libc::ifreq {
    // SAFETY: all zeroes is a valid ifreq: a name of no characters and numbers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last stays NUL.
    for (to, from) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request
}

pub(super) fn attach(file: &File, name: &str, flags: libc::c_int) -> io::Result<()> {
    let mut request = ifreq(name);
    request.ifr_ifru.ifru_flags = u16::try_from(flags).unwrap_or_default().cast_signed();
    ioctl(file, TUNSETIFF, (&raw mut request).cast())
}

/// Opens the device; it is no tap yet.
pub(super) fn open() -> io::Result<File> {
    File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(DEVICE)
}

/// A tap that is being made: until it is told to stay it goes with this process.
pub struct NewTap(File);

impl NewTap {
    /// Makes one of this name, for this user.
    ///
    /// # Errors
    /// What the kernel said: the name is somebody's, this user may make none.
    pub fn make(name: &str, owner: Option<u32>) -> io::Result<NewTap> {
        let file = open()?;
        attach(&file, name, libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_TUN_EXCL)?;
        if let Some(owner) = owner {
            let owner = usize::try_from(owner).unwrap_or(usize::MAX);
            ioctl(&file, TUNSETOWNER, std::ptr::without_provenance_mut(owner))?;
        }
        Ok(NewTap(file))
    }

    /// Lets it stay.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn stay(self) -> io::Result<()> {
        ioctl(&self.0, TUNSETPERSIST, std::ptr::without_provenance_mut(1))
    }
}
