//! System calls that much of the kernel lies behind, each made with arguments that no kernel takes: whether it
//! looked at them tells whether its code can be reached.

use std::io;

use crate::json::Object;
use crate::system::{Child, Failure};

/// What no string and no structure is at.
const NOWHERE: i64 = 1;
/// No descriptor, no command, and no flags that a kernel knows.
const NONE: i64 = -1;

/// A call and its arguments. Where a null pointer or a zero would mean something, they are others.
type Call = (&'static str, i64, [i64; 6]);

const CALLS: &[Call] = &[
    ("acct", libc::SYS_acct, [NOWHERE, 0, 0, 0, 0, 0]),
    ("add_key", libc::SYS_add_key, [NOWHERE, NOWHERE, NOWHERE, 1, 0, 0]),
    ("adjtimex", libc::SYS_adjtimex, [NOWHERE, 0, 0, 0, 0, 0]),
    ("bpf", libc::SYS_bpf, [0x7fff, NOWHERE, 8, 0, 0, 0]),
    ("chroot", libc::SYS_chroot, [NOWHERE, 0, 0, 0, 0, 0]),
    ("clock_settime", libc::SYS_clock_settime, [NONE, NOWHERE, 0, 0, 0, 0]),
    ("clone3", libc::SYS_clone3, [NOWHERE, 1, 0, 0, 0, 0]),
    ("delete_module", libc::SYS_delete_module, [NOWHERE, 0, 0, 0, 0, 0]),
    ("fanotify_init", libc::SYS_fanotify_init, [NONE, NONE, 0, 0, 0, 0]),
    ("finit_module", libc::SYS_finit_module, [NONE, NOWHERE, NONE, 0, 0, 0]),
    ("fsmount", libc::SYS_fsmount, [NONE, NONE, NONE, 0, 0, 0]),
    ("fsopen", libc::SYS_fsopen, [NOWHERE, NONE, 0, 0, 0, 0]),
    ("init_module", libc::SYS_init_module, [NOWHERE, 0, NOWHERE, 0, 0, 0]),
    ("io_uring_setup", libc::SYS_io_uring_setup, [0, NOWHERE, 0, 0, 0, 0]),
    ("ioperm", libc::SYS_ioperm, [NONE, 1, 1, 0, 0, 0]),
    ("iopl", libc::SYS_iopl, [99, 0, 0, 0, 0, 0]),
    ("kcmp", libc::SYS_kcmp, [0, 0, NONE, 0, 0, 0]),
    ("kexec_file_load", libc::SYS_kexec_file_load, [NONE, NONE, 0, NOWHERE, NONE, 0]),
    ("kexec_load", libc::SYS_kexec_load, [0, NONE, NOWHERE, NONE, 0, 0]),
    ("keyctl", libc::SYS_keyctl, [0x7fff, 0, 0, 0, 0, 0]),
    ("landlock_create_ruleset", libc::SYS_landlock_create_ruleset, [NOWHERE, 1, 0, 0, 0, 0]),
    ("mbind", libc::SYS_mbind, [0, 0, NONE, 0, 0, NONE]),
    ("modify_ldt", libc::SYS_modify_ldt, [1, NOWHERE, 1, 0, 0, 0]),
    ("mount", libc::SYS_mount, [NOWHERE, NOWHERE, NOWHERE, 0, 0, 0]),
    ("mount_setattr", libc::SYS_mount_setattr, [NONE, NOWHERE, NONE, NOWHERE, 1, 0]),
    ("move_mount", libc::SYS_move_mount, [NONE, NOWHERE, NONE, NOWHERE, NONE, 0]),
    ("name_to_handle_at", libc::SYS_name_to_handle_at, [NONE, NOWHERE, NOWHERE, NOWHERE, NONE, 0]),
    ("open_by_handle_at", libc::SYS_open_by_handle_at, [NONE, NOWHERE, 0, 0, 0, 0]),
    ("open_tree", libc::SYS_open_tree, [NONE, NOWHERE, NONE, 0, 0, 0]),
    ("perf_event_open", libc::SYS_perf_event_open, [NOWHERE, 0, NONE, NONE, 0, 0]),
    ("pidfd_getfd", libc::SYS_pidfd_getfd, [NONE, NONE, NONE, 0, 0, 0]),
    ("pivot_root", libc::SYS_pivot_root, [NOWHERE, NOWHERE, 0, 0, 0, 0]),
    ("process_vm_readv", libc::SYS_process_vm_readv, [0, NOWHERE, 1, NOWHERE, 1, NONE]),
    ("ptrace", libc::SYS_ptrace, [0x7fff, 0, 0, 0, 0, 0]),
    ("quotactl", libc::SYS_quotactl, [NONE, NOWHERE, 0, NOWHERE, 0, 0]),
    ("reboot", libc::SYS_reboot, [0, 0, 0, 0, 0, 0]),
    ("request_key", libc::SYS_request_key, [NOWHERE, NOWHERE, 0, 0, 0, 0]),
    ("sethostname", libc::SYS_sethostname, [NOWHERE, NONE, 0, 0, 0, 0]),
    ("setns", libc::SYS_setns, [NONE, NONE, 0, 0, 0, 0]),
    ("settimeofday", libc::SYS_settimeofday, [NOWHERE, NOWHERE, 0, 0, 0, 0]),
    ("swapoff", libc::SYS_swapoff, [NOWHERE, 0, 0, 0, 0, 0]),
    ("swapon", libc::SYS_swapon, [NOWHERE, NONE, 0, 0, 0, 0]),
    ("syslog", libc::SYS_syslog, [NONE, NOWHERE, 0, 0, 0, 0]),
    ("umount2", libc::SYS_umount2, [NOWHERE, 0, 0, 0, 0, 0]),
    ("unshare", libc::SYS_unshare, [NONE, 0, 0, 0, 0, 0]),
    ("userfaultfd", libc::SYS_userfaultfd, [NONE, 0, 0, 0, 0, 0]),
];

/// Seconds that a call may take. None should wait for anything.
const PATIENCE: u32 = 3;

/// What came of each, as an object: `reached`, where the kernel looked at the arguments; `refused`, `absent` or
/// `killed`, where it did not.
pub(super) fn tried() -> Result<String, Failure> {
    let mut object = Object::new();
    for (name, number, arguments) in CALLS {
        object = object.text(name, outcome(*number, *arguments)?);
    }
    Ok(object.finish())
}

fn outcome(number: i64, [a, b, c, d, e, f]: [i64; 6]) -> io::Result<&'static str> {
    const REFUSED: i32 = 1;
    const ABSENT: i32 = 2;
    // In a child of its own, which a filter may kill.
    let child = Child::start(|| {
        // SAFETY: no kernel does anything with these arguments but refuse them; this process ends after it.
        let status = unsafe {
            libc::alarm(PATIENCE);
            match libc::syscall(number, a, b, c, d, e, f) {
                -1 => match io::Error::last_os_error().raw_os_error() {
                    Some(libc::EPERM | libc::EACCES) => REFUSED,
                    Some(libc::ENOSYS) => ABSENT,
                    _ => 0,
                },
                _ => 0,
            }
        };
        // SAFETY: ends this process.
        unsafe { libc::_exit(status) }
    })?;
    Ok(match child.end()? {
        0 => "reached",
        REFUSED => "refused",
        ABSENT => "absent",
        _ => "killed",
    })
}
