//! Starting a keeper: what it needs, and the namespaces it lives in.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::control::Channel;
use super::error::Error;
use super::initramfs;
use super::keeper::{Inheritance, Orders};
use super::model::Machine;
use super::places::Instance;
use super::protocol::{Answer, Request};
use crate::failure::Step;
use crate::file_server::Virtiofsd;
use crate::guest_images::{self, Cache, Progress, Series};
use crate::host::find_program;
use crate::isolate::{IdentityMap, Namespaces, Process, Program};

/// How long a testbed lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// Until it is stopped.
    Lasting,
    /// As long as the process that started it, at most.
    Ephemeral,
}

/// Where the machine's root file system comes from.
pub(super) enum Ground {
    /// From the host's, as it is.
    Export,
    /// From a disk image.
    Image(OwnedFd),
}

/// A keeper that was just started.
pub(super) struct Launched {
    pub(super) channel: Channel,
    instance: Instance,
    process: Process,
    lifeline: io::PipeWriter,
}

impl Launched {
    /// Waits until commands can run. A machine that does not come up leaves nothing.
    pub(super) fn wait_until_up(self) -> Result<Launched, Error> {
        match wait_until_up(&self.channel) {
            Ok(()) => Ok(self),
            Err(error) => {
                self.end();
                Err(error)
            }
        }
    }

    /// Waits until somebody stops it; an error if it stopped by itself.
    pub(super) fn wait_until_ended(self) -> Result<(), Error> {
        let news = self.channel.receive();
        self.end();
        match news {
            Ok(Some((Answer::Died(reason), _))) => Err(Error::Stopped(reason)),
            _ => Ok(()),
        }
    }

    /// Waits until nothing is left of a testbed that is ephemeral, or has not come up.
    pub(super) fn end(self) {
        let Launched { channel, instance, process, lifeline } = self;
        drop((channel, lifeline));
        // It ends by itself now; if it can't be waited for, there is nothing better to do.
        let _ = process.wait();
        instance.remove();
    }
}

/// Boots a machine, and another one where it hangs as it boots: see "Known faults" in docs/testbed.md.
pub(super) fn boot<T>(
    progress: &Progress,
    mut attempt: impl FnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    const ATTEMPTS: usize = 3;
    for _ in 1..ATTEMPTS {
        match attempt() {
            Err(Error::Hung(reason)) => progress.step(&format!("{reason}; starting another")),
            other => return other,
        }
    }
    attempt()
}

pub(super) fn wait_until_up(channel: &Channel) -> Result<(), Error> {
    channel.send(&Request::Wait, &[]).map_err(Error::Connection)?;
    match channel.receive().map_err(Error::Connection)? {
        Some((Answer::Ready, _)) => Ok(()),
        Some((Answer::NoExport(reason), _)) => Err(Error::NoExport(reason)),
        Some((Answer::Hung(reason), _)) => Err(Error::Hung(reason)),
        Some((Answer::Died(reason) | Answer::Refused(reason), _)) => Err(Error::Start { reason }),
        _ => Err(Error::Start { reason: "its keeper was killed".into() }),
    }
}

/// Starts a keeper for this instance.
pub(super) fn launch(
    instance: Instance,
    machine: &Machine,
    lifetime: Lifetime,
    ground: Ground,
    progress: &Progress,
) -> Result<Launched, Error> {
    let launched = try_launch(&instance, machine, lifetime, ground, progress);
    match launched {
        Ok((channel, process, lifeline)) => Ok(Launched { channel, instance, process, lifeline }),
        Err(error) => {
            instance.remove();
            Err(error)
        }
    }
}

fn try_launch(
    instance: &Instance,
    machine: &Machine,
    lifetime: Lifetime,
    ground: Ground,
    progress: &Progress,
) -> Result<(Channel, Process, io::PipeWriter), Error> {
    let qemu = find_qemu()?;
    let kernel = guest_images::debian_kernel(&Cache::open()?, Series::V6_1)?;
    progress.step("preparing an emulated machine with AMD-V");
    let (virtiofsd, disk) = match ground {
        Ground::Export => (Some(find_virtiofsd()?), null()?),
        Ground::Image(image) => (None, image),
    };
    let orders = Orders {
        directory: instance.place.path.clone(),
        build: this_build()?,
        machine: machine.clone(),
        qemu,
        virtiofsd,
        ephemeral: lifetime == Lifetime::Ephemeral,
    };
    let (alive, lifeline) = io::pipe().step("make a pipe")?;
    let supplies = KeeperFiles {
        kernel: in_memory(&std::fs::read(&kernel.elf).step("read the testbed's kernel")?)?,
        initramfs: in_memory(&initramfs::build(&kernel)?)?,
        alive: alive.into(),
        disk,
    };
    // Before the keeper is there: its answer to this connection tells how it went.
    let channel = instance.connect().map_err(Error::Connection)?;
    let process = start_keeper(&orders, instance, supplies)?;
    Ok((channel, process, lifeline))
}

/// What tells this program from an earlier or later build of it.
pub(super) fn this_build() -> Result<String, Error> {
    let metadata = std::fs::metadata("/proc/self/exe").step("look at this program")?;
    Ok(format!("{}-{}.{}", metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
}

fn find_qemu() -> Result<PathBuf, Error> {
    let search = std::env::var_os("PATH");
    find_program("qemu-system-x86_64".as_ref(), search.as_deref()).map_err(|_| Error::NoQemu)
}

fn find_virtiofsd() -> Result<Virtiofsd, Error> {
    Virtiofsd::find().ok_or_else(|| {
        Error::NoExport(
            "virtiofsd is not installed (apt-get install virtiofsd; on Debian 12 it comes with \
             qemu-system-x86)"
                .into(),
        )
    })
}

struct KeeperFiles {
    kernel: OwnedFd,
    initramfs: OwnedFd,
    alive: OwnedFd,
    disk: OwnedFd,
}

fn start_keeper(
    orders: &Orders,
    instance: &Instance,
    files: KeeperFiles,
) -> Result<Process, Error> {
    let inheritance = Inheritance {
        orders: written_down(orders)?,
        output: [null()?, null()?],
        listener: instance.listener.try_clone().step("share the socket")?,
        lock: instance.place.lock.try_clone().step("share the lock")?.into(),
        kernel: files.kernel,
        initramfs: files.initramfs,
        lifeline: files.alive,
        disk: files.disk,
    };
    let namespaces = match orders.virtiofsd {
        Some(_) => keepers_namespaces(),
        None => Namespaces::NONE,
    };
    let program = Program::new("/proc/self/exe", ["duplex", "testbed", "keeper"])
        .step("start the keeper")?
        .namespaces(namespaces)
        .identity(IdentityMap::of_caller())
        .descriptors(inheritance.into_descriptors());
    let started = program.spawn();
    match started {
        Err(error) if namespaces != Namespaces::NONE => {
            Err(Error::NoExport(format!("this user can't make the namespaces it needs: {error}")))
        }
        other => Ok(other.step("start the keeper")?),
    }
}

/// The keeper's own processes, mounts and network. Who may not simply make them makes them in a
/// user namespace: ordinary users, and root in a container.
fn keepers_namespaces() -> Namespaces {
    let own = Namespaces::PID | Namespaces::MOUNT | Namespaces::IPC | Namespaces::NETWORK;
    if may_administrate() { own } else { own | Namespaces::USER }
}

/// Whether this process has CAP_SYS_ADMIN, capabilities(7).
fn may_administrate() -> bool {
    const CAP_SYS_ADMIN: u32 = 21;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    set.is_some_and(|set| set & (1 << CAP_SYS_ADMIN) != 0)
}

/// A pipe with the orders in it, which take far less room than a pipe has.
fn written_down(orders: &Orders) -> Result<OwnedFd, Error> {
    let write = || -> io::Result<OwnedFd> {
        let (reader, mut writer) = io::pipe()?;
        writer.write_all(&serde_json::to_vec(orders)?)?;
        Ok(reader.into())
    };
    Ok(write().step("write the keeper's orders")?)
}

fn null() -> Result<OwnedFd, Error> {
    let null = File::options().read(true).write(true).open("/dev/null");
    Ok(null.step("open /dev/null")?.into())
}

/// A file without a name, which whoever has a descriptor of it can open anew: the emulator is not
/// the user who may read the cache.
fn in_memory(bytes: &[u8]) -> Result<OwnedFd, Error> {
    let make = || -> io::Result<OwnedFd> {
        let file = memfd_create(c"duplex", MFdFlags::MFD_CLOEXEC)?;
        File::from(file.as_fd().try_clone_to_owned()?).write_all(bytes)?;
        Ok(file)
    };
    Ok(make().step("keep the kernel in memory")?)
}
