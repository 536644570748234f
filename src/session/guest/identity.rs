//! Who the command is.

use std::io;

use nix::errno::Errno;

/// A user and groups, as numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Further groups; None where a process cannot change them.
    pub(crate) groups: Option<Vec<u32>>,
}

impl Identity {
    /// Makes the calling process that user's. Between fork and exec: system calls only. They are
    /// made directly, for the library's wrappers would tell other threads.
    pub(super) fn assume(&self) -> io::Result<()> {
        let Self { uid, gid, groups } = self;
        // Groups first: whoever is not root any more can't change them.
        // SAFETY: plain system calls; the list of groups is borrowed during the call, with its length.
        unsafe {
            if let Some(groups) = groups {
                Errno::result(libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()))?;
            }
            Errno::result(libc::syscall(libc::SYS_setresgid, *gid, *gid, *gid))?;
            Errno::result(libc::syscall(libc::SYS_setresuid, *uid, *uid, *uid))?;
        }
        Ok(())
    }
}
