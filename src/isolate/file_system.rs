//! A file system made from its parameters and attached nowhere yet, fsopen(2).

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

const FSOPEN_CLOEXEC: libc::c_uint = 1;
const FSMOUNT_CLOEXEC: libc::c_uint = 1;
const FSCONFIG_SET_FLAG: libc::c_uint = 0;
const FSCONFIG_SET_STRING: libc::c_uint = 1;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;

/// The parameters of one that is to be.
#[derive(Debug)]
pub(crate) struct FileSystem(OwnedFd);

impl FileSystem {
    /// One of this type.
    pub(crate) fn of(kind: &CStr) -> io::Result<FileSystem> {
        // SAFETY: the name is a live NUL-terminated string.
        let fd = unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) };
        Ok(FileSystem(owned(fd)?))
    }

    /// Sets a parameter.
    pub(crate) fn set(self, name: &CStr, value: &str) -> io::Result<FileSystem> {
        let value = CString::new(value).map_err(|_| Errno::EINVAL)?;
        self.configure(FSCONFIG_SET_STRING, name.as_ptr(), value.as_ptr())?;
        Ok(self)
    }

    /// Sets a parameter that has no value.
    pub(crate) fn set_flag(self, name: &CStr) -> io::Result<FileSystem> {
        self.configure(FSCONFIG_SET_FLAG, name.as_ptr(), std::ptr::null())?;
        Ok(self)
    }

    /// Makes it: a mount with these attributes (`MOUNT_ATTR_*`) that is attached nowhere.
    pub(crate) fn mount(self, attributes: u64) -> io::Result<OwnedFd> {
        self.configure(FSCONFIG_CMD_CREATE, std::ptr::null(), std::ptr::null())?;
        // SAFETY: a plain system call on an open descriptor.
        owned(unsafe {
            libc::syscall(libc::SYS_fsmount, self.0.as_raw_fd(), FSMOUNT_CLOEXEC, attributes)
        })
    }

    fn configure(
        &self,
        command: libc::c_uint,
        name: *const libc::c_char,
        value: *const libc::c_char,
    ) -> io::Result<()> {
        // SAFETY: name and value are null or live NUL-terminated strings.
        Errno::result(unsafe {
            libc::syscall(libc::SYS_fsconfig, self.0.as_raw_fd(), command, name, value, 0)
        })?;
        Ok(())
    }
}

fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(Errno::result(fd)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just returned this descriptor, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
