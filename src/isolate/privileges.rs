//! Privileges: what a program may do beyond what any user may, capabilities(7).

use nix::unistd::{Gid, Uid};

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

/// Gives up what is to be given up. Between clone and exec: system calls only, and -1 with errno set
/// when one fails.
pub(super) fn drop(privileges: Privileges) -> i32 {
    if privileges == Privileges::Kept {
        return 0;
    }
    // With an empty bounding set the exec leaves no capabilities, not even to user 0.
    for capability in 0..=MOST_CAPABILITIES {
        // Refused for the first unknown number, with EINVAL; and with EPERM to a process without
        // capabilities, which has none to give up.
        // SAFETY: a plain system call.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability) } < 0 {
            break;
        }
    }
    // SAFETY: plain system calls, made directly: the library's wrappers would tell other threads,
    // which this process does not have.
    unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 {
            return -1;
        }
        let Privileges::AsUser(uid, gid) = privileges else { return 0 };
        let (uid, gid) = (uid.as_raw(), gid.as_raw());
        let none = std::ptr::null::<libc::gid_t>();
        if libc::syscall(libc::SYS_setgroups, 0_usize, none) < 0
            || libc::syscall(libc::SYS_setresgid, gid, gid, gid) < 0
            || libc::syscall(libc::SYS_setresuid, uid, uid, uid) < 0
        {
            return -1;
        }
    }
    0
}

/// Capabilities are bits of a 64-bit number.
const MOST_CAPABILITIES: libc::c_ulong = 63;
