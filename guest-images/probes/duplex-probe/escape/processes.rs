//! Processes outside, and PID 1, which is a copy of duplex.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;

use super::facts;
use super::system::{Got, any, called, fact, held, is_marker, number, read_marker};

pub(crate) const ATTEMPTS: &[super::Attempt] = &[
    ("trace-init", trace_init),
    ("init-memory", init_memory),
    ("init-descriptor", init_descriptor),
    ("signal", signal),
    ("trace", trace),
    ("memory", memory),
    ("host-namespaces", host_namespaces),
    ("user-namespace", user_namespace),
    ("terminal-input", terminal_input),
];

fn seize(pid: libc::pid_t) -> io::Result<()> {
    let nothing = std::ptr::null_mut::<libc::c_void>();
    called(unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, nothing, nothing) })?;
    called(unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, pid, nothing, nothing) })?;
    called(unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) }.into())?;
    called(unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, nothing, nothing) })?;
    Ok(())
}

fn trace_init() -> Got {
    seize(1)?;
    Ok("init was stopped, and could have been made to do anything".into())
}

fn init_memory() -> Got {
    File::options().read(true).write(true).open("/proc/1/mem")?;
    Ok("init's memory can be written to".into())
}

/// One that init has open.
fn init_descriptor() -> Got {
    let init = called(unsafe { libc::syscall(libc::SYS_pidfd_open, 1, 0) })?;
    any(3..64, |number| called(unsafe { libc::syscall(libc::SYS_pidfd_getfd, init, number, 0) }))?;
    Ok("took one of init's connections".into())
}

/// The process outside. A process that has its number by chance is another one.
fn outsider() -> io::Result<libc::pid_t> {
    let pid = number(facts::PID);
    called(unsafe { libc::kill(pid, 0) }.into())?;
    let command = fs::read_to_string(format!("/proc/{pid}/cmdline"))?;
    if command.contains("\0target\0") { Ok(pid) } else { Err(held("another has its number")) }
}

fn signal() -> Got {
    let pid = outsider()?;
    called(unsafe { libc::kill(pid, libc::SIGCONT) }.into())?;
    Ok(format!("process {pid} outside was sent a signal"))
}

fn trace() -> Got {
    let pid = outsider()?;
    seize(pid)?;
    Ok(format!("process {pid} outside was stopped"))
}

/// What a process outside has in its memory.
fn memory() -> Got {
    let pid = outsider()?;
    let mut buffer = [0_u8; facts::CONTENT.len()];
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let address: usize = number(facts::ADDRESS);
    let address = std::ptr::with_exposed_provenance_mut(address);
    let remote = libc::iovec { iov_base: address, iov_len: buffer.len() };
    called(unsafe {
        libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) as libc::c_long
    })?;
    is_marker(&buffer)?;
    Ok(format!("read the memory of process {pid}"))
}

/// Those of PID 1, whoever that is.
fn host_namespaces() -> Got {
    let marker = fact(facts::MARKER);
    if read_marker(&marker).is_ok() {
        return Err(held("the marker is in sight anyway: nothing to try"));
    }
    let enter = |name: &str| -> io::Result<()> {
        let file = File::open(format!("/proc/1/ns/{name}"))?;
        called(unsafe { libc::setns(file.as_raw_fd(), 0) }.into())?;
        Ok(())
    };
    // Whose own that is already cannot enter it.
    let _ = enter("user");
    enter("mnt")?;
    read_marker(&marker)
}

/// More capabilities, in a user namespace below.
fn user_namespace() -> Got {
    called(unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) }.into())?;
    Ok("user and mount namespaces were made".into())
}

/// A key pressed on the caller's terminal.
fn terminal_input() -> Got {
    let key = b'#';
    let press = |fd: i32| called(unsafe { libc::ioctl(fd, libc::TIOCSTI, &raw const key) }.into());
    let own = File::open("/dev/tty").and_then(|terminal| press(terminal.as_raw_fd()));
    own.or_else(|_| press(0)).or_else(|_| press(1)).or_else(|_| press(2))?;
    Ok("a key was pressed on the caller's terminal".into())
}
