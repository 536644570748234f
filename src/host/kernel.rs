//! Features of the host's kernel that containers and the testbed build on.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};

use super::check::Check;

/// Whether this user can make user and mount namespaces, which is how an ordinary user isolates
/// anything.
pub fn user_namespaces() -> Check {
    const NAME: &str = "user namespaces";
    let mut probe = Command::new("/proc/self/exe");
    probe.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: the closure makes one system call.
    unsafe {
        probe.pre_exec(|| Ok(unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?));
    }
    match probe.status() {
        Ok(status) if status.success() => Check::ok(NAME, "this user can make them"),
        Ok(status) => Check::limited(NAME, format!("the probe ended with {status}"), REMEDY),
        Err(error) => Check::missing(NAME, format!("this user can't make them: {error}"), REMEDY),
    }
}

const REMEDY: &str = "sudo sysctl user.max_user_namespaces=10000; and where they exist \
    kernel.unprivileged_userns_clone=1 and kernel.apparmor_restrict_unprivileged_userns=0";

/// Whether layers of directories can be united.
pub fn overlayfs() -> Check {
    const NAME: &str = "overlayfs";
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if known.split_whitespace().any(|word| word == "overlay") {
        Check::ok(NAME, "the kernel has it")
    } else {
        Check::missing(NAME, "not loaded, or not in this kernel", "sudo modprobe overlay")
    }
}

/// Whether a program can give up access to files for good, landlock(7).
pub fn landlock() -> Check {
    const NAME: &str = "Landlock";
    /// Asks for the version instead of making a rule set.
    const VERSION: libc::c_uint = 1;
    // SAFETY: with this flag the call takes no memory and makes nothing.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<()>(), 0_usize, VERSION)
    };
    if version > 0 {
        Check::ok(NAME, format!("ABI {version}"))
    } else {
        let error = std::io::Error::last_os_error();
        Check::missing(
            NAME,
            format!("not available: {error}"),
            "boot the host with landlock in lsm= on a kernel of 5.13 or newer",
        )
    }
}

/// Whether programs can be confined by path.
pub fn apparmor() -> Check {
    const NAME: &str = "AppArmor";
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
    if enabled.trim() == "Y" {
        Check::ok(NAME, "enabled")
    } else {
        Check::limited(NAME, "not enabled", "optional: boot the host with apparmor in lsm=")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_do_not_panic_and_leave_remedies() {
        for check in [overlayfs(), landlock(), apparmor()] {
            assert_eq!(check.state == super::super::State::Ok, check.remedy.is_none(), "{check:?}");
        }
    }
}
