//! Starting a program: the new process between clone3(2) and execve(2).

use std::ffi::CString;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::unistd::Pid;

use super::namespaces::Namespaces;
use super::privileges;
use super::process::Process;
use super::program::Program;

/// Mark instead of close, close_range(2).
const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
/// The new process starts in another control group than its parent's, clone(2).
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

impl Program {
    /// Starts the program, in a session of its own: no terminal can stop or interrupt it.
    ///
    /// # Errors
    /// What the kernel said to the first step that failed, the exec itself included; nothing is
    /// left running then. `EPERM` or `ENOSPC` usually mean that these namespaces are not to be had.
    pub fn spawn(self) -> io::Result<Process> {
        let (mut failure, report) = io::pipe()?;
        let plan = Plan::new(&self, report.into())?;
        let mut pidfd: RawFd = -1;
        let pid = clone3(self.namespaces, self.cgroup.as_ref(), &mut pidfd)?;
        if pid == 0 {
            plan.run();
        }
        // SAFETY: clone3 succeeded with CLONE_PIDFD, so it stored a new descriptor that nobody
        // else owns.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        let process = Process { pid: Pid::from_raw(pid), pidfd };
        drop(plan);
        let mut errno = [0; 4];
        match failure.read_exact(&mut errno) {
            // The exec closed the pipe: all went well.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(process),
            Err(error) => Err(error),
            Ok(()) => {
                process.wait()?;
                Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno)))
            }
        }
    }
}

/// Forks with `namespaces`, into a control group of version 2 where one is given. Returns 0 in the new
/// process.
pub(super) fn clone3(
    namespaces: Namespaces,
    cgroup: Option<&OwnedFd>,
    pidfd: &mut RawFd,
) -> io::Result<libc::pid_t> {
    // SAFETY: the struct is made of integers, for which zero is a valid value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = namespaces.clone_flags() | u64::from(libc::CLONE_PIDFD.unsigned_abs());
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::try_from(cgroup.as_raw_fd()).map_err(|_| Errno::EBADF)?;
    }
    args.exit_signal = libc::SIGCHLD.unsigned_abs().into();
    args.pidfd = ptr::from_mut(pidfd).expose_provenance() as u64;
    // SAFETY: without CLONE_VM and with no stack given this is fork(2): the new process runs on
    // its own copy of this stack. The arguments and the place for the pidfd are alive.
    let pid = Errno::result(unsafe {
        libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>())
    })?;
    Ok(libc::pid_t::try_from(pid).map_err(|_| Errno::EOVERFLOW)?)
}

/// Everything the new process needs between clone and exec, allocated beforehand: other threads
/// may have held the allocator's lock at the moment of the clone.
pub(super) struct Plan<'a> {
    program: &'a Program,
    argv: Vec<*const libc::c_char>,
    env: Vec<*const libc::c_char>,
    // Copies numbered above all targets, so that putting one in place can't overwrite another.
    sources: Vec<OwnedFd>,
    maps: Option<(String, String)>,
    // Who the parent is, in the new process's eyes: nobody it can see, in a PID namespace of its
    // own.
    parent: libc::pid_t,
    // Where the reason of a failure goes; likewise above all targets.
    report: OwnedFd,
}

impl<'a> Plan<'a> {
    pub(super) fn new(program: &'a Program, report: OwnedFd) -> io::Result<Self> {
        let above = RawFd::try_from(program.descriptors.len()).map_err(|_| Errno::EMFILE)?;
        let pointers = |strings: &[CString]| {
            strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect::<Vec<_>>()
        };
        Ok(Self {
            argv: pointers(&program.argv),
            env: pointers(&program.env),
            sources: program
                .descriptors
                .iter()
                .map(|fd| duplicate_above(fd, above))
                .collect::<io::Result<_>>()?,
            maps: program
                .identity
                .filter(|_| program.namespaces.contains(Namespaces::USER))
                .map(|map| (map.uid_line(), map.gid_line())),
            parent: if program.namespaces.contains(Namespaces::PID) {
                0
            } else {
                nix::unistd::getpid().as_raw()
            },
            program,
            report: duplicate_above(&report, above)?,
        })
    }

    /// The new process's whole life before exec: system calls only, no allocation.
    pub(super) fn run(&self) -> ! {
        let error = self.exec().to_ne_bytes();
        // SAFETY: write(2) reads the four live bytes; _exit ends this process without running
        // destructors or exit handlers, which belong to the parent.
        unsafe {
            libc::write(self.report.as_raw_fd(), error.as_ptr().cast(), error.len());
            libc::_exit(127);
        }
    }

    /// Runs the steps up to exec, and returns the error number of the one that failed.
    fn exec(&self) -> i32 {
        // The order matters: the groups first, so that what follows counts and is limited; the maps
        // next, for an unmapped user may open nothing; the tie after
        // the change of user, which would undo it; the descriptors last before the exec, for they
        // overwrite what the steps before may need.
        let steps = [
            Self::enter_groups,
            Self::map_identity,
            Self::start_session,
            Self::drop_privileges,
            Self::tie_to_parent,
            Self::place_descriptors,
        ];
        for step in steps {
            if step(self) < 0 {
                return Errno::last_raw();
            }
        }
        // SAFETY: path, argv and env are NUL-terminated strings and null-terminated arrays that
        // live in the plan.
        unsafe {
            libc::execve(self.program.path.as_ptr(), self.argv.as_ptr(), self.env.as_ptr());
        }
        Errno::last_raw()
    }

    fn enter_groups(&self) -> i32 {
        for entrance in &self.program.entrances {
            // SAFETY: a plain system call that reads one byte of a literal.
            if unsafe { libc::write(entrance.as_raw_fd(), c"0".as_ptr().cast(), 1) } < 0 {
                return -1;
            }
        }
        0
    }

    fn map_identity(&self) -> i32 {
        let Some((uid, gid)) = &self.maps else { return 0 };
        // Without this the kernel lets no ordinary user write a group map: a group that takes
        // rights away could be dropped.
        for (path, text) in [
            (c"/proc/self/setgroups", "deny"),
            (c"/proc/self/uid_map", uid.as_str()),
            (c"/proc/self/gid_map", gid.as_str()),
        ] {
            // SAFETY: plain system calls on a NUL-terminated path and a live buffer of the length
            // given.
            let done = unsafe {
                let fd = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
                if fd < 0 { -1 } else { libc::write(fd, text.as_ptr().cast(), text.len()) }
            };
            if done < 0 {
                return -1;
            }
        }
        0
    }

    #[expect(clippy::unused_self, reason = "one of the steps, which share a signature")]
    fn start_session(&self) -> i32 {
        // SAFETY: plain system calls; the signal set lives on the stack and is initialized by
        // sigemptyset. Rust programs ignore SIGPIPE, and the parent may block signals: the
        // program starts with neither.
        unsafe {
            let mut none = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            libc::setsid()
        }
    }

    fn drop_privileges(&self) -> i32 {
        match privileges::give_up(self.program.privileges) {
            Ok(()) => 0,
            Err(error) => {
                error.set();
                -1
            }
        }
    }

    fn tie_to_parent(&self) -> i32 {
        if !self.program.dies_with_parent {
            return 0;
        }
        // SAFETY: plain system calls. A parent that ended before the first of them is noticed by
        // the second: its orphan has another parent.
        unsafe {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) < 0 {
                return -1;
            }
            if libc::getppid() != self.parent {
                libc::_exit(127);
            }
        }
        0
    }

    fn place_descriptors(&self) -> i32 {
        let mut next = 0;
        for source in &self.sources {
            // SAFETY: dup2 onto a number that holds nothing this process still needs: all
            // sources lie above it.
            if unsafe { libc::dup2(source.as_raw_fd(), next) } < 0 {
                return -1;
            }
            next += 1;
        }
        // What the caller's own parents left open must not reach the program.
        // SAFETY: marks descriptors close-on-exec and touches no memory.
        let marked = unsafe {
            libc::syscall(libc::SYS_close_range, next, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC)
        };
        if marked < 0 { -1 } else { 0 }
    }
}

fn duplicate_above(fd: &OwnedFd, above: RawFd) -> io::Result<OwnedFd> {
    let copy = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(above))?;
    // SAFETY: fcntl has just returned this descriptor, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use nix::sys::wait::WaitStatus;

    use super::*;
    use crate::isolate::{IdentityMap, Privileges};

    fn sh(script: &str) -> Program {
        Program::new("/bin/sh", ["sh", "-c", script]).unwrap()
    }

    fn output_of(program: Program) -> String {
        let (mut reader, writer) = io::pipe().unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let process = program.descriptors(vec![null.into(), writer.into()]).spawn().unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        process.wait().unwrap();
        text
    }

    #[test]
    fn passes_descriptors_and_environment() {
        let program = sh("echo $GREETING; ls /proc/self/fd | wc -l").env([("GREETING", "hi")]);
        // 0, 1 and the directory that ls reads.
        assert_eq!(output_of(program.unwrap()), "hi\n3\n");
    }

    #[test]
    fn reports_a_failed_exec() {
        let error = Program::new("/nonexistent", ["x"]).unwrap().spawn().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    }

    #[test]
    fn swapped_descriptors_reach_their_places() {
        let (reader, mut writer) = io::pipe().unwrap();
        let (mut result, output) = io::pipe().unwrap();
        writer.write_all(b"through\n").unwrap();
        drop(writer);
        let process = sh("cat").descriptors(vec![reader.into(), output.into()]).spawn().unwrap();
        let mut text = String::new();
        result.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through\n");
        assert_eq!(process.wait().unwrap(), WaitStatus::Exited(process.pid(), 0));
    }

    #[test]
    fn without_capabilities_root_is_nobody_special() {
        let namespaces = Namespaces::USER | Namespaces::MOUNT;
        let program =
            sh("grep CapEff /proc/self/status; mount -t tmpfs x /mnt 2>/dev/null; echo $?");
        let program = program.env([("PATH", "/usr/bin:/bin")]).unwrap().namespaces(namespaces);
        let program = program.identity(IdentityMap::of_caller());
        let output = output_of(program.privileges(Privileges::NoCapabilities));
        assert!(output.starts_with("CapEff:\t0000000000000000\n"), "{output}");
        assert!(!output.ends_with("\n0\n"), "{output}");
    }

    #[test]
    fn is_the_first_process_and_root_of_its_namespaces() {
        let namespaces = Namespaces::USER | Namespaces::PID | Namespaces::MOUNT;
        let program =
            sh("echo $$ $(id -u)").env([("PATH", "/usr/bin:/bin")]).unwrap().namespaces(namespaces);
        assert_eq!(output_of(program.identity(IdentityMap::of_caller())), "1 0\n");
    }
}
