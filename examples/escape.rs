//! Attempts to get out of a container, each by its name: `escape NAME [ARGUMENT]`. One that got out says so,
//! with a proof, and exits with 0; one that did not says what held it, and exits with 1. None does more than
//! that: nothing is changed outside, or not for good.
//!
//! `escape list` prints the names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::undocumented_unsafe_blocks, clippy::cast_sign_loss)]

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{SocketAddr, UnixStream};
use std::process::ExitCode;

/// A proof that it got out.
type Got = io::Result<String>;

/// An attempt, and what it is about.
type Attempt = (&'static str, fn(&str) -> Got);

const ATTEMPTS: [Attempt; 27] = [
    ("write-own-program", write_own_program),
    ("leaked-descriptor", leaked_descriptor),
    ("parent-directories", parent_directories),
    ("chroot", chroot),
    ("core-pattern", core_pattern),
    ("sysrq", sysrq),
    ("sysctl", sysctl),
    ("sys-write", sys_write),
    ("mknod", mknod),
    ("mount-tmpfs", mount_tmpfs),
    ("mount-cgroup", mount_cgroup),
    ("unmask", unmask),
    ("own-limits", own_limits),
    ("trace-init", trace_init),
    ("signal-outside", signal_outside),
    ("kexec", kexec),
    ("load-module", load_module),
    ("keys", keys),
    ("bpf", bpf),
    ("userfaultfd", userfaultfd),
    ("io-uring", io_uring),
    ("user-namespace", user_namespace),
    ("host-namespaces", host_namespaces),
    ("clock", clock),
    ("abstract-socket", abstract_socket),
    ("kernel-log", kernel_log),
    ("reboot", reboot),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.first().map_or("list", String::as_str);
    if name == "list" {
        ATTEMPTS.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    let Some((_, attempt)) = ATTEMPTS.iter().find(|(known, _)| *known == name) else {
        return 2.into();
    };
    match attempt(arguments.get(1).map_or("", String::as_str)) {
        Ok(proof) => {
            println!("out: {proof}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("held: {error}");
            ExitCode::FAILURE
        }
    }
}

fn held(why: &str) -> io::Error {
    io::Error::other(why.to_owned())
}

/// The result of a system call.
fn called(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn text(string: &str) -> CString {
    CString::new(string).unwrap()
}

/// CVE-2019-5736: the program file of whoever started this.
fn write_own_program(_: &str) -> Got {
    let file = OpenOptions::new().write(true).open("/proc/1/exe")?;
    Ok(format!("/proc/1/exe can be written to: {:?}", file.metadata()?.len()))
}

/// CVE-2024-21626: a descriptor of something outside.
fn leaked_descriptor(_: &str) -> Got {
    let root = fs::metadata("/")?;
    for number in 3..1024 {
        let Ok(metadata) = fs::metadata(format!("/proc/self/fd/{number}")) else { continue };
        let above = fs::metadata(format!("/proc/self/fd/{number}/../../../../.."));
        let outside =
            above.is_ok_and(|above| (above.dev(), above.ino()) != (root.dev(), root.ino()));
        if metadata.is_dir() && outside {
            return Ok(format!("descriptor {number} is a directory outside"));
        }
    }
    let cwd = fs::read_link("/proc/self/cwd")?;
    if cwd.starts_with("/") { Err(held("no descriptor leads out")) } else { Ok(format!("{cwd:?}")) }
}

/// By so many steps up, from where the command starts.
fn parent_directories(marker: &str) -> Got {
    fs::metadata(format!("{}{marker}", "../".repeat(64)))?;
    Ok(format!("{marker} of the host is there"))
}

/// The classic: a second chroot, and up from a directory that was left outside of it.
fn chroot(marker: &str) -> Got {
    let outside = fs::File::open("/")?;
    fs::create_dir_all("/tmp/jail")?;
    called(unsafe { libc::chroot(text("/tmp/jail").as_ptr()) }.into())?;
    called(unsafe { libc::fchdir(outside.as_raw_fd()) }.into())?;
    for _ in 0..64 {
        std::env::set_current_dir("..")?;
    }
    fs::metadata(format!("./{marker}"))?;
    Ok(format!("{marker} of the host is there"))
}

fn can_write(path: &str) -> Got {
    let file = OpenOptions::new().write(true).open(path)?;
    drop(file);
    Ok(format!("{path} can be written to"))
}

/// A program of the container's that the host's kernel would start, as root outside.
fn core_pattern(_: &str) -> Got {
    can_write("/proc/sys/kernel/core_pattern")
}

fn sysrq(_: &str) -> Got {
    can_write("/proc/sysrq-trigger")
}

/// A switch that belongs to no namespace.
fn sysctl(_: &str) -> Got {
    can_write("/proc/sys/vm/swappiness").or_else(|_| can_write("/proc/sys/kernel/panic"))
}

/// A program that the host's kernel would start for each event of a device.
fn sys_write(_: &str) -> Got {
    can_write("/sys/kernel/uevent_helper").or_else(|_| can_write("/sys/power/state"))
}

/// A node of the host's first disk, or of its memory.
fn mknod(_: &str) -> Got {
    for (name, kind, device) in [
        ("/tmp/disk", libc::S_IFBLK, libc::makedev(254, 0)),
        ("/tmp/memory", libc::S_IFCHR, libc::makedev(1, 1)),
    ] {
        called(unsafe { libc::mknod(text(name).as_ptr(), kind | 0o600, device) }.into())?;
        OpenOptions::new().read(true).open(name)?;
    }
    Ok("a disk and memory can be opened".into())
}

fn mount(kind: &str, at: &str, flags: libc::c_ulong, options: &str) -> io::Result<()> {
    fs::create_dir_all(at)?;
    let (kind, at, options) = (text(kind), text(at), text(options));
    called(
        unsafe {
            let options = options.as_ptr().cast();
            libc::mount(kind.as_ptr(), at.as_ptr(), kind.as_ptr(), flags, options)
        }
        .into(),
    )?;
    Ok(())
}

fn mount_tmpfs(_: &str) -> Got {
    mount("tmpfs", "/tmp/mounted", 0, "")?;
    Ok("a file system was mounted".into())
}

/// CVE-2022-0492: a hierarchy with a release agent, which the host's kernel starts.
fn mount_cgroup(_: &str) -> Got {
    mount("cgroup", "/tmp/cgroup", 0, "rdma")
        .or_else(|_| mount("cgroup", "/tmp/cgroup", 0, "memory"))?;
    OpenOptions::new().write(true).open("/tmp/cgroup/release_agent")?;
    Ok("release_agent can be written to".into())
}

/// What is masked, seen again below its mount.
fn unmask(_: &str) -> Got {
    called(unsafe { libc::umount2(text("/proc/keys").as_ptr(), libc::MNT_DETACH) }.into())?;
    fs::read_to_string("/proc/keys")
}

/// The limits of the own control group.
fn own_limits(_: &str) -> Got {
    let mut writable = Vec::new();
    for path in
        ["pids.max", "memory.max", "cpu.max", "pids/pids.max", "memory/memory.limit_in_bytes"]
    {
        let path = format!("/sys/fs/cgroup/{path}");
        if OpenOptions::new().write(true).open(&path).is_ok() {
            writable.push(path);
        }
    }
    if writable.is_empty() {
        Err(held("no limit is there to be written"))
    } else {
        Ok(writable.join(" "))
    }
}

/// Init, which is a copy of duplex.
fn trace_init(_: &str) -> Got {
    let opened = OpenOptions::new().read(true).open("/proc/1/mem");
    let nothing = std::ptr::null_mut::<libc::c_void>();
    let traced = unsafe { libc::ptrace(libc::PTRACE_SEIZE, 1, nothing, nothing) };
    match opened {
        Err(error) if traced < 0 => Err(error),
        _ => Ok("init can be traced".into()),
    }
}

/// Any process whose number is not one of the container's: those are small.
fn signal_outside(_: &str) -> Got {
    let own = fs::read_dir("/proc")?.flatten();
    let own: Vec<String> = own.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    for pid in 1..4_194_304 {
        if unsafe { libc::kill(pid, 0) } == 0 && !own.contains(&pid.to_string()) {
            return Ok(format!("process {pid} outside can be sent signals"));
        }
    }
    Err(held("no process outside has a number here"))
}

fn kexec(_: &str) -> Got {
    called(unsafe { libc::syscall(libc::SYS_kexec_load, 0, 0, 0, 0) })?;
    Ok("kexec_load is allowed".into())
}

fn load_module(_: &str) -> Got {
    let result = unsafe { libc::syscall(libc::SYS_init_module, 0, 0, c"".as_ptr()) };
    match called(result).map_err(|error| (error.raw_os_error(), error)) {
        Err((Some(libc::EPERM | libc::ENOSYS), error)) => Err(error),
        other => Ok(format!("init_module looks at its arguments: {other:?}")),
    }
}

/// A key of the caller's session.
fn keys(_: &str) -> Got {
    const GET_KEYRING_ID: libc::c_int = 0;
    const SESSION: libc::c_int = -3;
    let id = called(unsafe { libc::syscall(libc::SYS_keyctl, GET_KEYRING_ID, SESSION, 0) })?;
    Ok(format!("the session's keyring is {id}"))
}

fn bpf(_: &str) -> Got {
    let result = unsafe { libc::syscall(libc::SYS_bpf, 0, 0, 0) };
    match called(result).map_err(|error| (error.raw_os_error(), error)) {
        Err((Some(libc::EPERM | libc::ENOSYS), error)) => Err(error),
        other => Ok(format!("bpf looks at its arguments: {other:?}")),
    }
}

fn userfaultfd(_: &str) -> Got {
    called(unsafe { libc::syscall(libc::SYS_userfaultfd, 1) })?;
    Ok("userfaultfd is allowed".into())
}

fn io_uring(_: &str) -> Got {
    let mut parameters = [0_u8; 120];
    called(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) })?;
    Ok("a ring, which no filter sees into, was made".into())
}

/// More capabilities, in a user namespace below.
fn user_namespace(_: &str) -> Got {
    called(unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) }.into())?;
    Ok("user and mount namespaces were made".into())
}

fn host_namespaces(_: &str) -> Got {
    for name in ["mnt", "pid", "net", "user"] {
        let file = fs::File::open(format!("/proc/1/ns/{name}"))?;
        called(unsafe { libc::setns(file.as_raw_fd(), 0) }.into())?;
    }
    Ok("init's namespaces were entered".into())
}

fn clock(_: &str) -> Got {
    let mut now: libc::timespec = unsafe { std::mem::zeroed() };
    called(unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now) }.into())?;
    called(unsafe { libc::clock_settime(libc::CLOCK_REALTIME, &raw const now) }.into())?;
    Ok("the host's clock was set, to what it was".into())
}

/// A socket of the host's that has no file.
fn abstract_socket(name: &str) -> Got {
    UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?.write_all(b"out")?;
    Ok(format!("connected to @{name} of the host"))
}

fn kernel_log(_: &str) -> Got {
    const READ_ALL: libc::c_int = 3;
    let mut buffer = [0_u8; 64];
    let read =
        called(unsafe { libc::syscall(libc::SYS_syslog, READ_ALL, buffer.as_mut_ptr(), 64) })?;
    let device = fs::metadata("/dev/kmsg").is_ok_and(|node| node.file_type().is_char_device());
    Ok(format!("{read} bytes of the host's log, device: {device}"))
}

/// With a command that no kernel has.
fn reboot(_: &str) -> Got {
    let (one, two) = (0xfee1_dead_u32, 672_274_793);
    let result = unsafe { libc::syscall(libc::SYS_reboot, one, two, 0, 0) };
    match called(result).map_err(|error| (error.raw_os_error(), error)) {
        Err((Some(libc::EPERM), error)) => Err(error),
        other => Ok(format!("reboot looks at its arguments: {other:?}")),
    }
}
