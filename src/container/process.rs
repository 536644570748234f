//! What a container's PID 1 does with itself: who it is, and what it gives up.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use crate::isolate::landlock::{Abi, Landlock};
use crate::isolate::{Title, hardening};

/// All ids at once; there are no other groups.
pub(super) fn become_root() -> io::Result<()> {
    setgroups(&[])?;
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    setresgid(gid, gid, gid)?;
    Ok(setresuid(uid, uid, uid)?)
}

/// Gives up what the kernel lets it give up. What may be written to lies in the image, which may have links
/// on the way there: they lead nowhere but into the container.
pub(super) fn wall_off(writable: Option<&[PathBuf]>) -> io::Result<()> {
    let real =
        |path: &PathBuf| Ok(CString::new(fs::canonicalize(path)?.into_os_string().into_vec())?);
    let writable = writable.map(|paths| paths.iter().map(real).collect::<io::Result<_>>());
    let wall = Landlock { writable: writable.transpose()?, abstract_sockets: true, signals: true };
    Ok(wall.apply(Abi::of_kernel())?)
}

/// Children that are started from now on have their own clocks of uptime, which begin now.
pub(super) fn start_clock() -> io::Result<()> {
    match unshare(CloneFlags::from_bits_retain(libc::CLONE_NEWTIME)) {
        // The kernel has no time namespaces: a difference that a command can only see.
        Err(Errno::EINVAL) => return Ok(()),
        other => other?,
    }
    let mut offsets = String::new();
    for (name, clock) in [("monotonic", libc::CLOCK_MONOTONIC), ("boottime", libc::CLOCK_BOOTTIME)]
    {
        let now = nix::time::clock_gettime(nix::time::ClockId::from_raw(clock))?;
        offsets.push_str(&format!("{name} -{} 0\n", now.tv_sec()));
    }
    fs::write("/proc/self/timens_offsets", offsets)
}

/// Whoever has used up their keys goes without: what else keeps commands from keys is the filter.
pub(super) fn own_keyring() -> io::Result<()> {
    match hardening::own_session_keyring() {
        Ok(_) | Err(Errno::EDQUOT | Errno::ENOSYS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The order matters: the tie to the parent is undone by changes of who this process is.
pub(super) fn hide(title: &Title) -> io::Result<()> {
    // SAFETY: the process has a single thread, and has read what it was started with.
    unsafe { title.rename(c"duplex-init") }?;
    hardening::not_dumpable()?;
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    Ok(())
}
