//! PID 1: sets the machine up, starts a session process for each client, reaps.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, sethostname};

use super::hypervisor::IdleVm;
use super::{base, devices};
use crate::failure::{Failure, Step};
use crate::init;
use crate::isolate::{self, Namespaces, Process, Program};
use crate::session::children::{Change, next_change};
use crate::session::poll::set_nonblocking;
use crate::testbed::agent::command_line::on_command_line;
use crate::testbed::protocol::{NOTICE_PORT, Notice, PULSE, SESSIONS, SIGNS_OF_LIFE, session_port};

/// Runs as PID 1, until the machine is switched off from outside.
pub fn main() -> ExitCode {
    if nix::unistd::getpid() != Pid::from_raw(1) {
        eprintln!("duplex: `testbed agent` is PID 1 of the testbed; it does nothing elsewhere");
        return ExitCode::from(125);
    }
    let mut notices = None;
    if let Err(failure) = run(&mut notices) {
        eprintln!("duplex: the testbed's agent cannot go on: {failure}");
        if let Some(port) = &mut notices {
            // Already failing; the console has the message too.
            let _ = notify(port, &Notice::Failed(failure.to_string()));
        }
    }
    // PID 1 must not return: the kernel would panic. Switching off ends the emulator.
    let _ = reboot(RebootMode::RB_POWER_OFF);
    ExitCode::FAILURE
}

fn run(notices: &mut Option<File>) -> Result<(), Failure> {
    // (1) What looking for devices needs.
    base::mount_kernel_file_systems()?;
    // (2) Drivers. The socket comes first, so that no device can appear unnoticed.
    let events = devices::Events::listen()?;
    init::load_modules()?;
    // (3) The ports.
    let notice_port = notices.insert(devices::open_port(&events, NOTICE_PORT)?);
    let ports = (0..SESSIONS)
        .map(|index| devices::find_port(&events, &session_port(index)))
        .collect::<Result<Vec<_>, _>>()?;
    // (4) The host's file system, and a root to build sessions' roots from.
    base::switch()?;
    sethostname("testbed").step("set the host name")?;
    isolate::bring_loopback_up()?;
    let _idle_vm = IdleVm::start()?;
    // (5) Commands.
    let children = block_child_signal()?;
    let mut server = Server::new(ports, &children)?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").step("read the release")?;
    notify(notice_port, &Notice::Ready(release.trim().to_owned()))?;
    server.serve(&children, notice_port)
}

fn notify(port: &mut File, notice: &Notice) -> Result<(), Failure> {
    let mut line = serde_json::to_vec(notice).step("write a notice")?;
    line.push(b'\n');
    port.write_all(&line).step("tell the keeper")
}

fn block_child_signal() -> Result<SignalFd, Failure> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    signals.thread_block().step("block SIGCHLD")?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .step("make a signalfd")
}

/// A session port and the process that serves its client.
struct Slot {
    path: PathBuf,
    port: File,
    session: Option<Process>,
}

impl Slot {
    fn open(path: PathBuf) -> Result<Self, Failure> {
        let port = open_port(&path)?;
        Ok(Self { path, port, session: None })
    }

    /// Whether a client is at the other end.
    fn connected(&self) -> Result<bool, Failure> {
        let mut fds = [PollFd::new(self.port.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).step_with(|| format!("poll {}", self.path.display()))?;
        Ok(!fds[0].revents().unwrap_or(PollFlags::empty()).contains(PollFlags::POLLHUP))
    }
}

fn open_port(path: &PathBuf) -> Result<File, Failure> {
    let open = || -> io::Result<File> {
        let port = File::options().read(true).write(true).open(path)?;
        set_nonblocking(&port)?;
        Ok(port)
    };
    open().step_with(|| format!("open {}", path.display()))
}

struct Server {
    // Edge-triggered: the driver reports "nobody is connected" as a hang-up for as long as it
    // lasts, so only changes are worth waking up for.
    epoll: Epoll,
    slots: Vec<Slot>,
}

const CHILDREN: u64 = u64::MAX;

impl Server {
    fn new(ports: Vec<PathBuf>, children: &SignalFd) -> Result<Self, Failure> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).step("make an epoll")?;
        epoll
            .add(children, EpollEvent::new(EpollFlags::EPOLLIN, CHILDREN))
            .step("wait for children")?;
        let slots = ports.into_iter().map(Slot::open).collect::<Result<Vec<_>, _>>()?;
        let server = Self { epoll, slots };
        for index in 0..server.slots.len() {
            server.watch(index)?;
        }
        Ok(server)
    }

    fn watch(&self, index: usize) -> Result<(), Failure> {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        self.epoll
            .add(&self.slots[index].port, EpollEvent::new(flags, index as u64))
            .step_with(|| format!("wait for {}", self.slots[index].path.display()))
    }

    fn serve(&mut self, children: &SignalFd, notices: &mut File) -> Result<(), Failure> {
        for index in 0..self.slots.len() {
            notify(notices, &Notice::Idle(index))?;
        }
        let pulse = on_command_line(SIGNS_OF_LIFE)?.then_some(PULSE);
        let timeout = pulse.map_or(EpollTimeout::NONE, |pulse| {
            EpollTimeout::try_from(pulse).unwrap_or(EpollTimeout::MAX)
        });
        let mut told = Instant::now();
        loop {
            if pulse.is_some_and(|pulse| told.elapsed() >= pulse) {
                notify(notices, &Notice::Alive)?;
                told = Instant::now();
            }
            let mut events = [EpollEvent::empty(); SESSIONS + 1];
            let count = match self.epoll.wait(&mut events, timeout) {
                Err(Errno::EINTR) => continue,
                other => other.step("wait for clients")?,
            };
            for event in &events[..count] {
                match usize::try_from(event.data()).ok().filter(|i| *i < self.slots.len()) {
                    Some(index) => self.client_came(index, notices)?,
                    None => self.reap(children, notices)?,
                }
            }
        }
    }

    /// A client has come. Its session has the port to itself from now on: when two processes poll
    /// one port, the driver may hand the data to the first without waking the second.
    fn client_came(&mut self, index: usize, notices: &mut File) -> Result<(), Failure> {
        let slot = &mut self.slots[index];
        if slot.session.is_some() || !slot.connected()? {
            return Ok(());
        }
        self.epoll.delete(&slot.port).step("leave a port to its session")?;
        match start_session(&slot.port) {
            Ok(process) => slot.session = Some(process),
            Err(failure) => {
                // One session that can't be started must not take the others down.
                eprintln!("duplex: {failure}");
                self.reset(index, notices)?;
            }
        }
        Ok(())
    }

    /// Children have ended: sessions, and orphans that came to PID 1.
    fn reap(&mut self, children: &SignalFd, notices: &mut File) -> Result<(), Failure> {
        while children.read_signal().step("read the signalfd")?.is_some() {}
        while let Some((pid, change)) = next_change().step("wait for a child")? {
            if let Change::Ended(_) = change {
                self.ended(pid, notices)?;
            }
        }
        Ok(())
    }

    fn ended(&mut self, pid: Pid, notices: &mut File) -> Result<(), Failure> {
        let of_session = |slot: &Slot| slot.session.as_ref().is_some_and(|s| s.pid() == pid);
        match self.slots.iter().position(of_session) {
            Some(index) => self.reset(index, notices),
            None => Ok(()),
        }
    }

    /// Makes a port ready for the next client. It is opened anew, for then the driver throws away
    /// what was left unread; and closed before, for it can be open only once.
    fn reset(&mut self, index: usize, notices: &mut File) -> Result<(), Failure> {
        let null = File::open("/dev/null").step("open /dev/null")?;
        let slot = &mut self.slots[index];
        slot.session = None;
        drop(std::mem::replace(&mut slot.port, null));
        slot.port = open_port(&slot.path)?;
        self.watch(index)?;
        notify(notices, &Notice::Idle(index))
    }
}

fn start_session(port: &File) -> Result<Process, Failure> {
    let start = || -> io::Result<Process> {
        let null = File::open("/dev/null")?;
        let console = File::options().write(true).open("/dev/console")?;
        let descriptors = vec![
            null.into(),
            console.try_clone()?.into(),
            console.into(),
            port.as_fd().try_clone_to_owned()?,
        ];
        Program::new("/proc/self/exe", ["duplex", "testbed", "session"])?
            .namespaces(Namespaces::PID | Namespaces::MOUNT)
            .descriptors(descriptors)
            .spawn()
    };
    start().step("start a session")
}
