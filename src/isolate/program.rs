//! A program to be started in namespaces of its own, and the process that it becomes.

use std::ffi::{CString, OsStr};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::namespaces::{IdentityMap, Namespaces};
use super::privileges::Privileges;
use super::spawn::{Plan, clone3};

/// What to start, and in which surroundings.
#[derive(Debug)]
pub struct Program {
    pub(super) path: CString,
    pub(super) argv: Vec<CString>,
    pub(super) env: Vec<CString>,
    pub(super) namespaces: Namespaces,
    pub(super) identity: Option<IdentityMap>,
    pub(super) descriptors: Vec<OwnedFd>,
    pub(super) dies_with_parent: bool,
    pub(super) privileges: Privileges,
}

impl Program {
    /// The program file at `path`, with the name it goes by and the arguments after that.
    pub fn new<A: AsRef<OsStr>>(
        path: impl AsRef<OsStr>,
        argv: impl IntoIterator<Item = A>,
    ) -> io::Result<Self> {
        Ok(Self {
            path: c_string(path.as_ref())?,
            argv: argv.into_iter().map(|arg| c_string(arg.as_ref())).collect::<io::Result<_>>()?,
            env: Vec::new(),
            namespaces: Namespaces::NONE,
            identity: None,
            descriptors: Vec::new(),
            dies_with_parent: false,
            privileges: Privileges::Kept,
        })
    }

    /// The environment; empty unless given.
    pub fn env<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> io::Result<Self> {
        for (name, value) in variables {
            let mut pair = name.as_ref().to_os_string();
            pair.push("=");
            pair.push(value.as_ref());
            self.env.push(c_string(&pair)?);
        }
        Ok(self)
    }

    /// The namespaces the program gets for itself.
    pub fn namespaces(mut self, namespaces: Namespaces) -> Self {
        self.namespaces = namespaces;
        self
    }

    /// Who is user 0 in the new user namespace; without one this has no effect.
    pub fn identity(mut self, map: IdentityMap) -> Self {
        self.identity = Some(map);
        self
    }

    /// The descriptors the program starts with, numbered from 0. It gets no others.
    pub fn descriptors(mut self, descriptors: Vec<OwnedFd>) -> Self {
        self.descriptors = descriptors;
        self
    }

    /// The kernel kills the program when the thread that started it ends, however that happens.
    pub fn dies_with_parent(mut self) -> Self {
        self.dies_with_parent = true;
        self
    }

    /// What of the caller's privileges the program keeps; all, unless given.
    pub fn privileges(mut self, privileges: Privileges) -> Self {
        self.privileges = privileges;
        self
    }

    /// Starts the program, in a session of its own: no terminal can stop or interrupt it.
    ///
    /// # Errors
    /// What the kernel said to the first step that failed, the exec itself included; nothing is
    /// left running then. `EPERM` or `ENOSPC` usually mean that these namespaces are not to be had.
    pub fn spawn(self) -> io::Result<Process> {
        let (mut failure, report) = io::pipe()?;
        let plan = Plan::new(&self, report.into())?;
        let mut pidfd: RawFd = -1;
        let pid = clone3(self.namespaces, &mut pidfd)?;
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

/// A process that was started by [`Program::spawn`].
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    pidfd: OwnedFd,
}

impl Process {
    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits until it ends.
    pub fn wait(&self) -> io::Result<WaitStatus> {
        loop {
            match waitid(Id::PIDFd(self.pidfd.as_fd()), WaitPidFlag::WEXITED) {
                Err(Errno::EINTR) => {}
                other => return Ok(other?),
            }
        }
    }
}

impl AsFd for Process {
    /// Readable once the process has ended, pidfd_open(2).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| Errno::EINVAL.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

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
