//! Privileges: what a program may do beyond what any user may, capabilities(7).

use nix::errno::Errno;
use nix::unistd::{Gid, Uid};

use super::capabilities::CapabilitySets;
use super::hardening;

/// What a started program keeps of its parent's privileges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privileges {
    /// All of them.
    Kept,
    /// No capability, and no way to gain one; the same user.
    NoCapabilities,
    /// The same as another user, who is in no other group. For a caller that may change users.
    AsUser(Uid, Gid),
}

/// Gives up what is to be given up. Between clone and exec: system calls only.
pub(super) fn give_up(privileges: Privileges) -> Result<(), Errno> {
    if privileges == Privileges::Kept {
        return Ok(());
    }
    let none = CapabilitySets::default();
    // With an empty bounding set the exec leaves no capabilities, not even to user 0.
    match none.limit() {
        // Without capabilities there are none to give up, and none to gain.
        Ok(()) | Err(Errno::EPERM) => {}
        Err(error) => return Err(error),
    }
    hardening::no_new_privileges()?;
    if let Privileges::AsUser(uid, gid) = privileges {
        change_user(uid, gid)?;
    }
    none.set()
}

/// Becomes another user, who is in no other group.
fn change_user(uid: Uid, gid: Gid) -> Result<(), Errno> {
    let (uid, gid) = (uid.as_raw(), gid.as_raw());
    let none = std::ptr::null::<libc::gid_t>();
    // SAFETY: plain system calls, made directly: the library's wrappers would tell other threads,
    // which this process does not have.
    unsafe {
        Errno::result(libc::syscall(libc::SYS_setgroups, 0_usize, none))?;
        Errno::result(libc::syscall(libc::SYS_setresgid, gid, gid, gid))?;
        Errno::result(libc::syscall(libc::SYS_setresuid, uid, uid, uid))?;
    }
    Ok(())
}
