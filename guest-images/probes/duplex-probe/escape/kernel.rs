//! System calls that reach the kernel all share.

use std::fs;
use std::os::unix::fs::FileTypeExt;

use super::facts;
use super::system::{Got, called, fact, held, text};

pub(crate) const ATTEMPTS: &[super::Attempt] = &[
    ("kexec", kexec),
    ("load-module", load_module),
    ("keys", keys),
    ("bpf", bpf),
    ("performance-events", performance_events),
    ("userfaultfd", userfaultfd),
    ("io-uring", io_uring),
    ("io-ports", io_ports),
    ("clock", clock),
    ("kernel-log", kernel_log),
    ("reboot", reboot),
];

/// An empty kernel: nothing happens.
fn kexec() -> Got {
    called(unsafe { libc::syscall(libc::SYS_kexec_load, 0, 0, 0, 0) })?;
    Ok("another kernel can be loaded".into())
}

/// An empty module.
fn load_module() -> Got {
    let result = unsafe { libc::syscall(libc::SYS_init_module, c"".as_ptr(), 0, c"".as_ptr()) };
    match called(result).map_err(|error| (error.raw_os_error(), error)) {
        Err((Some(libc::EPERM | libc::ENOSYS), error)) => Err(error),
        other => Ok(format!("the kernel looked at the module: {other:?}")),
    }
}

/// A key of the same user outside.
fn keys() -> Got {
    const SEARCH: libc::c_int = 10;
    const USERS: libc::c_int = -4;
    let name = text(&fact(facts::NAME));
    let id = called(unsafe {
        let kind = c"user".as_ptr();
        libc::syscall(libc::SYS_keyctl, SEARCH, USERS, kind, name.as_ptr(), 0)
    })?;
    Ok(format!("found the key {id}"))
}

/// A table for programs in the kernel.
fn bpf() -> Got {
    const MAP_CREATE: libc::c_int = 0;
    const ARRAY: u32 = 2;
    let attributes = [ARRAY, 4, 4, 1];
    called(unsafe {
        let size = size_of_val(&attributes);
        libc::syscall(libc::SYS_bpf, MAP_CREATE, attributes.as_ptr(), size)
    })?;
    Ok("programs can be loaded into the kernel".into())
}

/// What all processes do on the first processor.
fn performance_events() -> Got {
    const SOFTWARE: u32 = 1;
    // struct perf_event_attr, version 0: 64 bytes. The event is the processor's clock.
    let attributes: [u32; 16] = [SOFTWARE, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    called(unsafe {
        let (all, first, group, flags) = (-1, 0, -1, 0);
        let call = libc::SYS_perf_event_open;
        libc::syscall(call, attributes.as_ptr(), all, first, group, flags)
    })?;
    Ok("what others do can be watched".into())
}

fn userfaultfd() -> Got {
    const USER_MODE_ONLY: libc::c_int = 1;
    called(unsafe { libc::syscall(libc::SYS_userfaultfd, USER_MODE_ONLY) })?;
    Ok("page faults can be handled here".into())
}

fn io_uring() -> Got {
    let mut parameters = [0_u8; 120];
    called(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) })?;
    Ok("a ring, which no filter sees into, was made".into())
}

/// The port that a PC's firmware shows its progress at.
fn io_ports() -> Got {
    called(unsafe { libc::ioperm(0x80, 1, 1) }.into())?;
    Ok("the host's I/O ports can be used".into())
}

fn clock() -> Got {
    let mut now: libc::timespec = unsafe { std::mem::zeroed() };
    called(unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now) }.into())?;
    called(unsafe { libc::clock_settime(libc::CLOCK_REALTIME, &raw const now) }.into())?;
    Ok("the host's clock was set, to what it was".into())
}

fn kernel_log() -> Got {
    const READ_ALL: libc::c_int = 3;
    let mut buffer = [0_u8; 64];
    let read =
        called(unsafe { libc::syscall(libc::SYS_syslog, READ_ALL, buffer.as_mut_ptr(), 64) })?;
    let device = fs::metadata("/dev/kmsg").is_ok_and(|node| node.file_type().is_char_device());
    Ok(format!("{read} bytes of the host's log, device: {device}"))
}

/// With a command that no kernel has.
fn reboot() -> Got {
    let (one, two) = (0xfee1_dead_u32, 672_274_793);
    let result = unsafe { libc::syscall(libc::SYS_reboot, one, two, 0, 0) };
    match called(result).map_err(|error| (error.raw_os_error(), error)) {
        Err((Some(libc::EPERM), error)) => Err(error),
        Err((Some(libc::EINVAL), _)) => Ok("the command was looked at".into()),
        other => Err(held(&format!("{other:?}"))),
    }
}
