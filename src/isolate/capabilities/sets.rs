//! The sets that a thread has, and giving up what is not in them.

use nix::errno::Errno;

use super::{Capabilities, Capability};

/// A thread's capability sets, as capabilities(7) defines them; effective is the same as permitted.
///
/// What changes anything here makes system calls only, so that it can be used between clone and
/// exec. The order, for one who changes users too: [`limit`](Self::limit), the change of user,
/// [`set`](Self::set).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapabilitySets {
    /// The most that the exec of a program file can give.
    pub bounding: Capabilities,
    /// What the thread can use.
    pub permitted: Capabilities,
    /// What survives the exec of a program file that can take it.
    pub inheritable: Capabilities,
    /// What survives the exec of any program file; must be permitted and inheritable too.
    pub ambient: Capabilities,
}

impl CapabilitySets {
    /// Takes everything else out of the bounding set, for good.
    ///
    /// # Errors
    /// `EPERM` without CAP_SETPCAP.
    pub fn limit(&self) -> Result<(), Errno> {
        for number in (0..=HIGHEST).filter(|number| self.bounding.0 & 1 << number == 0) {
            // SAFETY: a plain system call.
            let dropped =
                unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number)) };
            match Errno::result(dropped) {
                Ok(_) => {}
                // The first that the kernel does not know.
                Err(Errno::EINVAL) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sets the others.
    ///
    /// # Errors
    /// `EPERM` if one was to grow beyond what capabilities(7) allows.
    pub fn set(&self) -> Result<(), Errno> {
        let [mut low, mut high] = [Halves::default(); 2];
        (low.permitted, high.permitted) = halves(self.permitted);
        (low.effective, high.effective) = halves(self.permitted);
        (low.inheritable, high.inheritable) = halves(self.inheritable);
        let header = Header { version: VERSION_3, pid: 0 };
        let data = [low, high];
        change_ambient(libc::PR_CAP_AMBIENT_CLEAR_ALL, 0)?;
        // SAFETY: version 3 takes a header and two structures of data, which are alive; pid 0 is
        // this thread.
        Errno::result(unsafe {
            libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr())
        })?;
        for capability in self.ambient.iter() {
            change_ambient(libc::PR_CAP_AMBIENT_RAISE, capability.number())?;
        }
        Ok(())
    }

    /// All of it, for one who does not change users.
    ///
    /// # Errors
    /// As [`limit`](Self::limit) and [`set`](Self::set).
    pub fn apply(&self) -> Result<(), Errno> {
        self.limit()?;
        self.set()
    }
}

/// What this thread can use.
///
/// # Errors
/// What the kernel says; none is known.
pub(super) fn permitted() -> Result<Capabilities, Errno> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Halves::default(); 2];
    // SAFETY: version 3 takes a header and fills two structures of data, which are alive.
    Errno::result(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) })?;
    let [low, high] = data;
    Ok(Capabilities(u64::from(high.permitted) << 32 | u64::from(low.permitted)))
}

/// The number of the running kernel's last capability: the last that it has in a bounding set to
/// look at.
pub(super) fn last_capability() -> u8 {
    // SAFETY: a plain system call.
    let known = |number: u8| unsafe {
        libc::prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(number)) >= 0
    };
    let mut last = Capability::CHECKPOINT_RESTORE.number();
    while last > 0 && !known(last) {
        last -= 1;
    }
    while last < HIGHEST && known(last + 1) {
        last += 1;
    }
    last
}

fn change_ambient(operation: libc::c_int, number: u8) -> Result<(), Errno> {
    let number = libc::c_ulong::from(number);
    // SAFETY: a plain system call.
    Errno::result(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, operation, number, 0, 0) }).map(drop)
}

/// Capabilities are bits of a 64-bit number.
const HIGHEST: u8 = 63;

/// `_LINUX_CAPABILITY_VERSION_3`: 64 bits, in two halves.
const VERSION_3: u32 = 0x2008_0522;

/// `struct __user_cap_header_struct` of capget(2).
#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

/// `struct __user_cap_data_struct` of capget(2): one half of three sets.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Halves {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

#[expect(clippy::cast_possible_truncation, reason = "a half is what is wanted")]
fn halves(set: Capabilities) -> (u32, u32) {
    (set.0 as u32, (set.0 >> 32) as u32)
}
