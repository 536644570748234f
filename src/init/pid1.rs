//! Init's way from the kernel's start of it to the end of the machine.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, VsockAddr, connect, socket};
use nix::unistd::{Pid, syncfs};

use super::further::Door;
use super::protocol::{Message, SESSION_PORT, Setting};
use super::{first, memory, modules, names, network, root, tasks};
use crate::failure::{Failure, Step};
use crate::isolate;
use crate::isolate::rlimits::Ulimit;
use crate::session::guest::BeforeExec;
use crate::session::poll::set_nonblocking;

/// Runs as PID 1, until it ends the machine.
pub fn main() -> ExitCode {
    if nix::unistd::getpid() != Pid::from_raw(1) {
        eprintln!("duplex: `guest-init` is PID 1 of a guest that `duplex run` starts");
        return ExitCode::from(125);
    }
    if let Err(failure) = run() {
        // On the guest's console.
        eprintln!("duplex: the guest's init cannot go on: {failure}");
    }
    match end_the_machine() {
        Err(error) => eprintln!("duplex: the guest cannot be ended: {error}"),
    }
    // PID 1 must not return: the kernel panics, which ends the machine as well.
    ExitCode::FAILURE
}

/// A reset ends a VM at once, whatever the kernel was built with; a power-off needs ACPI.
fn end_the_machine() -> Result<Infallible, Errno> {
    reboot(RebootMode::RB_AUTOBOOT)
}

fn run() -> Result<(), Failure> {
    root::mount_devices()?;
    modules::load_modules()?;
    let host = connect_to_host().step("connect to the host")?;
    let door = Door::open().step("listen for further sessions")?;
    first::serve(host, door, furnish, || {
        // What was written to the root. A volume's files are the host's already; and where its server
        // has gone, that would wait for ever.
        flush("/").step("flush the root")?;
        let killed = memory::killed();
        Ok((killed > 0).then_some(Message::OutOfMemory { killed }))
    })
}

/// What every command in a guest is behind. Its root, who is master of the whole machine, could take it
/// down: it is there for commands that do too much by accident.
struct Wall {
    ulimits: Vec<Ulimit>,
    /// Where a process enters the group that limits how many there are.
    group: Option<CString>,
}

impl BeforeExec for Wall {
    fn as_parent(&self) -> io::Result<()> {
        if let Some(group) = &self.group {
            tasks::enter(group)?;
        }
        Ok(self.ulimits.iter().try_for_each(Ulimit::apply)?)
    }

    fn last(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Flushes the file system at `path`.
fn flush(path: &str) -> io::Result<()> {
    Ok(syncfs(File::open(path)?)?)
}

fn connect_to_host() -> io::Result<File> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket: OwnedFd = socket(AddressFamily::Vsock, SockType::Stream, flags, None)?;
    connect(socket.as_raw_fd(), &VsockAddr::new(libc::VMADDR_CID_HOST, SESSION_PORT))?;
    set_nonblocking(&socket)?;
    Ok(socket.into())
}

/// Makes the guest what every command in it finds.
fn furnish(setting: Option<Setting>) -> Result<Arc<dyn BeforeExec>, Failure> {
    let setting = setting.ok_or(Errno::EINVAL).step("furnish a guest without a plan")?;
    root::enter(setting.layer)?;
    if let Some(size) = setting.shm_size {
        root::resize_shared_memory(size)?;
    }
    root::mount_further(&setting.volumes, &setting.tmpfs)?;
    isolate::bring_loopback_up()?;
    let known = network::set_up(&setting.network, &setting.hostname)?;
    names::set_hostname(&setting.hostname)?;
    names::set_hosts(&setting.hostname, known.address)?;
    if !setting.network.interfaces.is_empty() {
        names::set_resolver(&known.servers, &setting.network.search)?;
    }
    if setting.read_only {
        root::make_read_only()?;
    }
    let group = setting.tasks.map(tasks::limit).transpose()?;
    Ok(Arc::new(Wall { ulimits: setting.ulimits, group }))
}
