//! Starting the machine: the keeper's preparations as numbered steps.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::sys::wait::WaitStatus;

use super::Orders;
use super::export::Export;
use super::named::Named;
use super::notices::Notices;
use super::qemu::{Parts, Root};
use crate::failure::{Failure, Step};
use crate::file_server::{Virtiofsd, raise_file_limit};
use crate::isolate::{self, Attributes, Process};
use crate::session::poll::{Poll, set_nonblocking};
use crate::testbed::control::{connect_stream, listen_for_streams};
use crate::testbed::protocol::{self, SESSIONS};
use crate::testbed::scratch::nameless_file;

/// The size of the disk for I/O-limit tests, in bytes. It takes the room that is written to.
const SCRATCH_SIZE: u64 = 1 << 30;

/// How long QEMU may take to end once it has closed its ports.
const AT_ITS_END: Duration = Duration::from_secs(1);

/// A running machine and the keeper's connections to it.
pub(super) struct RunningMachine {
    /// QEMU.
    pub(super) emulator: Process,
    /// The file servers; when one ends, the machine is of no use any more.
    pub(super) servers: Vec<Process>,
    /// What they write.
    pub(super) output: File,
    /// What the agent tells the keeper.
    pub(super) notices: Notices,
    /// Where the session sockets are.
    sockets: File,
    /// The files that commands name, where there is an export for them.
    named: Option<Named>,
}

impl RunningMachine {
    /// Shows files to the testbed and connects to a port: the connection, and the files' numbers.
    ///
    /// # Errors
    /// In words for the user; nothing is shown then.
    pub(super) fn open_session(
        &mut self,
        port: usize,
        files: Vec<(protocol::Export, OwnedFd)>,
    ) -> Result<(OwnedFd, Vec<u64>), String> {
        let mut exports = Vec::new();
        for (export, opened) in files {
            let added = match &mut self.named {
                Some(named) => named.add(&export, opened),
                None => Err("this testbed has a disk image for a root".into()),
            };
            match added {
                Ok(number) => exports.push(number),
                Err(reason) => {
                    self.withdraw(exports);
                    return Err(format!("{}: {reason}", export.path.display()));
                }
            }
        }
        match connect_stream(self.sockets.as_fd(), &session_socket(port)) {
            Ok(connection) => Ok((connection, exports)),
            Err(error) => {
                self.withdraw(exports);
                Err(format!("the testbed's port {port} can't be reached: {error}"))
            }
        }
    }

    /// How QEMU has ended, or is about to: for a person.
    pub(super) fn how_it_ended(&self) -> String {
        let mut poll = Poll::new();
        poll.add((), &self.emulator, true, false);
        if !poll.wait(Some(AT_ITS_END)).is_ok_and(|events| !events.is_empty()) {
            return "stopped".into();
        }
        match self.emulator.wait() {
            Ok(WaitStatus::Exited(_, status)) if status != 0 => format!("failed (status {status})"),
            Ok(WaitStatus::Signaled(_, signal, _)) => format!("was killed ({signal})"),
            _ => "stopped".into(),
        }
    }

    /// Hides files from the testbed again.
    pub(super) fn withdraw(&mut self, exports: Vec<u64>) {
        if let Some(named) = &mut self.named {
            exports.into_iter().for_each(|export| named.remove(export));
        }
    }
}

/// The descriptors that become the machine's.
pub(super) struct Supplies {
    pub(super) kernel: OwnedFd,
    pub(super) initramfs: OwnedFd,
    pub(super) disk: OwnedFd,
}

/// The name of a session's socket.
fn session_socket(index: usize) -> String {
    format!("session.{index}")
}

const NOTICES: &str = "notices";

/// Why the machine could not be started.
pub(super) enum Problem {
    /// The host's file system can't be shown to it.
    Export(Failure),
    /// Anything else.
    Machine(Failure),
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::Machine(failure)
    }
}

/// Prepares everything and starts the machine.
pub(super) fn start(orders: &Orders, supplies: Supplies) -> Result<RunningMachine, Problem> {
    // (1) The view of the host, before anything of ours is mounted.
    let export = orders.virtiofsd.as_ref().map(|_| Export::prepare()).transpose();
    let export = export.map_err(Problem::Export)?;
    // (2) A place for directories and sockets; where it can be a mount, it leaves no trace.
    let work = orders.directory.join("work");
    if export.is_some() {
        isolate::tmpfs(&work, Attributes::default())
            .step("mount the keeper's own directory")
            .map_err(Problem::Export)?;
    }
    let sockets = File::open(&work).step_with(|| format!("open {}", work.display()))?;
    let (reader, writer) = std::io::pipe().step("make a pipe")?;
    set_nonblocking(&reader).step("set up the log")?;
    let log = OwnedFd::from(writer);
    // (3) The file servers, each on a socket that QEMU is connected to beforehand.
    raise_file_limit()?;
    let mut servers = Vec::new();
    let mut named = None;
    let root = match (export, &orders.virtiofsd) {
        (Some(export), Some(virtiofsd)) => {
            let starter = Servers { virtiofsd, sockets: &sockets, log: &log };
            let shared = starter.start_both(export, &work).map_err(Problem::Export)?;
            servers = shared.servers;
            named = Some(shared.named);
            shared.root
        }
        _ => Root::Disk(supplies.disk),
    };
    // (4) The machine.
    let mut ports = vec![listen_for_streams(sockets.as_fd(), NOTICES).step("make a socket")?];
    for index in 0..SESSIONS {
        let name = session_socket(index);
        ports.push(listen_for_streams(sockets.as_fd(), &name).step("make a socket")?);
    }
    let parts = Parts {
        program: orders.qemu.clone(),
        machine: orders.machine.clone(),
        kernel: supplies.kernel,
        initramfs: supplies.initramfs,
        scratch: nameless_file(SCRATCH_SIZE).step("make the scratch disk")?,
        ports,
        root,
    };
    let emulator = parts.start(null()?, &log).step("start QEMU")?;
    // (5) The agent's voice.
    let notices = connect_stream(sockets.as_fd(), NOTICES).step("connect to the machine")?;
    set_nonblocking(&notices).step("connect to the machine")?;
    Ok(RunningMachine {
        emulator,
        servers,
        output: OwnedFd::from(reader).into(),
        notices: Notices::new(notices.into()),
        sockets,
        named,
    })
}

struct Servers<'a> {
    virtiofsd: &'a Virtiofsd,
    sockets: &'a File,
    log: &'a OwnedFd,
}

/// The host's file system and the named files, served.
struct Shared {
    servers: Vec<Process>,
    named: Named,
    root: Root,
}

impl Servers<'_> {
    fn start_both(&self, export: Export, work: &Path) -> Result<Shared, Failure> {
        let (tree, entries) = (work.join("tree"), work.join("named"));
        for directory in [&tree, &entries] {
            fs::create_dir(directory).step_with(|| format!("make {}", directory.display()))?;
        }
        export.attach(&tree)?;
        let (tree_server, tree) = self.start("tree.server", &tree)?;
        let (named_server, named) = self.start("named.server", &entries)?;
        Ok(Shared {
            servers: vec![tree_server, named_server],
            named: Named::new(entries),
            root: Root::Shared { tree, named, forget: self.virtiofsd.is_slow_to_notice() },
        })
    }

    /// Starts a file server; returns it with a connection to it.
    fn start(&self, socket: &str, directory: &Path) -> Result<(Process, OwnedFd), Failure> {
        let listener = listen_for_streams(self.sockets.as_fd(), socket).step("make a socket")?;
        // virtiofsd wants to wait in accept.
        set_blocking(&listener).step("make a socket")?;
        let connection = connect_stream(self.sockets.as_fd(), socket).step("make a connection")?;
        let server =
            self.virtiofsd.serve(directory, listener, null()?, self.log).step("start virtiofsd")?;
        Ok((server, connection))
    }
}

fn set_blocking(fd: &OwnedFd) -> nix::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK)).map(drop)
}

fn null() -> Result<OwnedFd, Failure> {
    Ok(File::open("/dev/null").step("open /dev/null")?.into())
}
