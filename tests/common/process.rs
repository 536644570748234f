//! Processes under test. Nobody waits for one for ever: one that is late is asked to end (SIGTERM),
//! made to ten seconds later (SIGKILL), and named in what the test says. None outlives its test.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// How long a process may say nothing, or take to end. The machine may be slow and busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);
/// How long a late process has to end by itself.
const GRACE: Duration = Duration::from_secs(10);

/// A process, with what it prints where that is a pipe.
pub(crate) struct Process {
    child: Child,
    /// Readable once it has ended.
    pidfd: OwnedFd,
    /// The command, for messages.
    what: String,
    pub(crate) stdout: Pipe,
    pub(crate) stderr: Pipe,
}

impl Process {
    /// Starts a command.
    pub(crate) fn start(command: &mut Command) -> Process {
        let what = format!("{command:?}");
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
        let pidfd = pidfd_open(pid_of(&child)).expect("a child that was not waited for");
        let pipe = |stream: Option<OwnedFd>| Pipe::new(stream.map(File::from), &what);
        let stdout = pipe(child.stdout.take().map(OwnedFd::from));
        let stderr = pipe(child.stderr.take().map(OwnedFd::from));
        Process { child, pidfd, what, stdout, stderr }
    }

    /// Its standard input, where that is a pipe.
    pub(crate) fn take_stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("standard input is a pipe")
    }

    pub(crate) fn pid(&self) -> Pid {
        pid_of(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Waits until it is stopped, by SIGTSTP or its like.
    pub(crate) fn stopped(&self) {
        let (pid, (sender, stopped)) = (self.pid(), mpsc::channel());
        // No descriptor tells of a stop, so a thread waits; it ends with the process at the latest.
        std::thread::spawn(move || sender.send(waitpid(pid, Some(WaitPidFlag::WUNTRACED))));
        match stopped.recv_timeout(PATIENCE) {
            Ok(Ok(WaitStatus::Stopped(..))) => {}
            other => panic!("{}: waited for it to stop: {other:?}", self.what),
        }
    }

    /// Whether it ends within this time.
    pub(crate) fn ends_within(&self, limit: Duration) -> bool {
        !ready(&[self.pidfd.as_fd()], limit).is_empty()
    }

    /// Waits for its end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        if !self.ends_within(PATIENCE) {
            let how = self.make_end();
            panic!("{}: did not end within {PATIENCE:?}: {how}", self.what);
        }
        self.child.wait().unwrap()
    }

    /// Ends it by force.
    pub(crate) fn kill(&mut self) -> ExitStatus {
        self.child.kill().unwrap();
        self.child.wait().unwrap()
    }

    /// Reads all that it prints and waits for its end.
    pub(crate) fn output(self) -> Output {
        self.output_within(PATIENCE).unwrap_or_else(|late| panic!("{late}"))
    }

    /// The same with other patience; `Err` says that it said nothing for so long and had to be
    /// ended.
    pub(crate) fn output_within(mut self, silence: Duration) -> Result<Output, String> {
        while self.stdout.is_open() || self.stderr.is_open() {
            let pipes = [&mut self.stdout, &mut self.stderr];
            let mut open: Vec<&mut Pipe> =
                pipes.into_iter().filter(|pipe| pipe.is_open()).collect();
            let fds: Vec<_> = open.iter().filter_map(|pipe| pipe.fd()).collect();
            let have_come = ready(&fds, silence);
            if have_come.is_empty() {
                return Err(self.late(silence));
            }
            for index in have_come {
                open[index].read_some();
            }
        }
        if !self.ends_within(silence) {
            return Err(self.late(silence));
        }
        let status = self.child.wait().unwrap();
        let read = |pipe: &mut Pipe| std::mem::take(&mut pipe.read);
        Ok(Output { status, stdout: read(&mut self.stdout), stderr: read(&mut self.stderr) })
    }

    fn late(&mut self, silence: Duration) -> String {
        let how = self.make_end();
        let said = [&self.stdout, &self.stderr].map(Pipe::text);
        let [stdout, stderr] = said;
        format!("{}: silent for {silence:?}: {how}; it had said:\n{stdout}{stderr}", self.what)
    }

    /// Ends it, and says how.
    fn make_end(&mut self) -> String {
        if let Ok(Some(status)) = self.child.try_wait() {
            return format!("it has ended ({status}), and others hold its streams");
        }
        // It may end at this very moment.
        let _ = kill(self.pid(), Signal::SIGTERM);
        let listened = self.ends_within(GRACE);
        if !listened {
            let _ = self.child.kill();
        }
        let status = self.child.wait();
        format!("{} ended it ({status:?})", if listened { "SIGTERM" } else { "only SIGKILL" })
    }

    /// Its end, to be waited for together with something else.
    pub(super) fn end_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Only where a test has failed is it still running.
        self.make_end();
    }
}

/// Something to read from, and what was read so far.
pub(crate) struct Pipe {
    file: Option<File>,
    what: String,
    /// All that was read.
    pub(crate) read: Vec<u8>,
    /// How much of it was waited for.
    seen: usize,
    /// The end of whoever writes, where the other side stays open longer than that: a terminal's.
    writer: Option<OwnedFd>,
}

impl Pipe {
    pub(super) fn new(file: Option<File>, what: &str) -> Pipe {
        Pipe { file, what: what.to_owned(), read: Vec::new(), seen: 0, writer: None }
    }

    /// Nothing comes any more when this process has ended.
    pub(super) fn ends_with(mut self, process: &Process) -> Pipe {
        self.writer = Some(process.end_fd().try_clone_to_owned().unwrap());
        self
    }

    fn is_open(&self) -> bool {
        self.file.is_some()
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }

    /// Closes it, as a reader that goes away does.
    pub(crate) fn close(&mut self) {
        self.file = None;
    }

    /// Reads once what is there, or the end.
    pub(super) fn read_some(&mut self) {
        let Some(file) = &mut self.file else { return };
        let mut buffer = [0; 16 << 10];
        match file.read(&mut buffer) {
            // EIO: the other side of a terminal has hung up.
            Ok(0) | Err(_) => self.close(),
            Ok(count) => self.read.extend(&buffer[..count]),
        }
    }

    /// Reads until `text` comes, behind what was waited for before; returns all from there to its
    /// end.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        loop {
            let new = &self.read[self.seen..];
            let found = new.windows(text.len()).position(|window| window == text.as_bytes());
            if let Some(at) = found {
                return String::from_utf8_lossy(&self.next(at + text.len())).into_owned();
            }
            self.more(&format!("{text:?}"), PATIENCE);
        }
    }

    /// Reads `count` bytes behind what was waited for before.
    pub(crate) fn read_exactly(&mut self, count: usize) -> Vec<u8> {
        const SILENCE: Duration = Duration::from_secs(60);
        while self.read.len() - self.seen < count {
            let missing = count - (self.read.len() - self.seen);
            self.more(&format!("the last {missing} of {count} bytes"), SILENCE);
        }
        self.next(count)
    }

    fn next(&mut self, count: usize) -> Vec<u8> {
        let next = self.read[self.seen..][..count].to_vec();
        self.seen += count;
        next
    }

    /// Waits until something comes.
    fn more(&mut self, wanted: &str, silence: Duration) {
        let Some(fd) = self.fd() else { panic!("{}", self.without(wanted, "it is at its end")) };
        let ends = self.writer.as_ref().map(AsFd::as_fd);
        // Data come first: what was printed before the end is read.
        match ready(&[Some(fd), ends].into_iter().flatten().collect::<Vec<_>>(), silence).first() {
            Some(0) => self.read_some(),
            Some(_) => panic!("{}", self.without(wanted, "the program has ended")),
            None => panic!("{}", self.without(wanted, &format!("nothing came for {silence:?}"))),
        }
    }

    fn without(&self, wanted: &str, why: &str) -> String {
        format!("{}: waited for {wanted}, but {why}; it had said:\n{}", self.what, self.text())
    }

    /// What was read, as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.read).into_owned()
    }
}

/// Runs a command without input to its end.
pub(crate) fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Process::start(command).output()
}

/// Runs a command to its end, its streams as they were set.
pub(crate) fn status(command: &mut Command) -> ExitStatus {
    Process::start(command).end()
}

/// Which of these can be read, or are at their end, as soon as any is; none once `limit` has passed.
pub(super) fn ready(fds: &[BorrowedFd<'_>], limit: Duration) -> Vec<usize> {
    let mut waits: Vec<_> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    let limit = PollTimeout::try_from(limit).unwrap();
    while let Err(error) = poll(&mut waits, limit) {
        assert_eq!(error, Errno::EINTR);
    }
    (0..fds.len()).filter(|index| waits[*index].any() == Some(true)).collect()
}

/// A descriptor that is readable once the process has ended; `None` where there is no such process.
pub(crate) fn pidfd_open(pid: Pid) -> Option<OwnedFd> {
    // SAFETY: a plain system call.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let fd = RawFd::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: the kernel has just returned this descriptor, so nobody else owns it.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Waits until all of these processes have ended; false once `limit` has passed.
pub(crate) fn end_within(pids: &[Pid], limit: Duration) -> bool {
    let ends: Vec<OwnedFd> = pids.iter().filter_map(|pid| pidfd_open(*pid)).collect();
    ends.iter().all(|end| !ready(&[end.as_fd()], limit).is_empty())
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}
