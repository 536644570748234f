//! The container's PID 1: a copy of duplex that furnishes its namespaces and then serves the session.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, fchdir, pivot_root, setgroups, setresgid, setresuid};

use super::layers;
use super::plan::Plan;
use super::step::Step;
use super::volumes;
use super::wall::Wall;
use crate::failure::{Failure, Step as _};
use crate::init::{self, Door, Setting, names, network, root};
use crate::isolate::capabilities::CapabilitySets;
use crate::isolate::landlock::{Abi, Landlock};
use crate::isolate::mounting::put;
use crate::isolate::netlink::Netlink;
use crate::isolate::seccomp::Filter;
use crate::isolate::{self, Attributes, IdentityMap};
use crate::isolate::{hardening, interfaces, provisions, traffic};
use crate::session::guest::BeforeExec;
use crate::trace::steps::SharedStamps;
use crate::workload::Tmpfs;

/// What duplex hands to a container's PID 1 beside descriptors.
pub(super) struct Legacy<'a> {
    /// What to do.
    pub(super) plan: &'a Plan,
    /// An empty directory of the host, to mount things on.
    pub(super) room: &'a Path,
    /// Who has started it, as whom the caller may be mapped.
    pub(super) caller: IdentityMap,
    /// Where to stamp what is done, in the order of [`Plan::inside`].
    pub(super) stamps: Option<&'a SharedStamps>,
}

impl Legacy<'_> {
    fn done(&self, step: usize) {
        if let Some(stamps) = self.stamps {
            stamps.stamp(step);
        }
    }
}

/// PID 1's whole life. `kept` are the session's channel, where provisions come from, the socket at
/// which further sessions are asked for, and the entrances to its control groups.
pub(super) fn live(mut kept: Vec<OwnedFd>, legacy: &Legacy<'_>) -> u8 {
    legacy.done(0);
    let entrances = kept.split_off(kept.len().min(3));
    let Ok([channel, provisions, door]) = <[OwnedFd; 3]>::try_from(kept) else {
        return FAILED;
    };
    // While duplex still prepares: what the network is to be, and the command, is only needed afterwards.
    let (early, late) = legacy.plan.split();
    let begun = Furnishing::new(legacy, provisions.into(), entrances)
        .and_then(|mut furnishing| furnishing.furnish(early).map(|()| furnishing));
    let furnish = |setting: Option<Setting>| -> Result<Arc<dyn BeforeExec>, Failure> {
        let mut furnishing = begun?;
        furnishing.network = setting.map(|setting| setting.network).unwrap_or_default();
        furnishing.known.servers.clone_from(&furnishing.network.servers);
        furnishing.furnish(late)?;
        Ok(Arc::new(Wall::new(legacy.plan)))
    };
    match init::serve(channel.into(), Door::at(door), furnish, || Ok(None)) {
        Ok(()) => 0,
        // Whoever started it has gone, and the namespaces go with this process.
        Err(_) => FAILED,
    }
}

/// What PID 1 ends with when it cannot go on.
const FAILED: u8 = 125;

/// The way through the steps.
struct Furnishing<'a> {
    legacy: &'a Legacy<'a>,
    entrances: Vec<OwnedFd>,
    /// Where what is prepared outside comes from.
    provisions: UnixStream,
    /// The layered image, once there is one.
    root: Option<OwnedFd>,
    /// Trees of the host, in the order of the plan's volumes.
    volumes: Vec<OwnedFd>,
    /// The root of the host, and an empty directory there. Opened as who this process was outside:
    /// the container's root may not enter it.
    host: File,
    room: File,
    /// What was decided outside about its interfaces, and what has come of it.
    network: init::Network,
    known: network::Known,
}

impl<'a> Furnishing<'a> {
    fn new(
        legacy: &'a Legacy<'a>,
        provisions: UnixStream,
        entrances: Vec<OwnedFd>,
    ) -> Result<Self, Failure> {
        let host = File::open("/").step("open the root")?;
        let room = File::open(legacy.room).step("open an empty directory")?;
        let (root, volumes) = (None, Vec::new());
        let network = init::Network::default();
        let known = network::Known { address: None, servers: Vec::new() };
        Ok(Self { legacy, entrances, provisions, root, volumes, host, room, network, known })
    }

    /// Takes these of the plan's steps.
    fn furnish(&mut self, steps: Range<usize>) -> Result<(), Failure> {
        for number in steps {
            let Some(step) = self.legacy.plan.steps.get(number) else { break };
            self.take(step)?;
            // The first stamp is PID 1's own begin.
            self.legacy.done(number + 1);
        }
        Ok(())
    }

    fn take(&mut self, step: &Step) -> Result<(), Failure> {
        match step {
            Step::EnterGroups { shown_as_root } => {
                self.enter_groups(*shown_as_root).step("enter the control groups")
            }
            Step::Await => self.get_provisions().step("get what was prepared outside"),
            Step::BecomeRoot => become_root().step("become root of the user namespace"),
            Step::MapCaller => isolate::map_self(self.legacy.caller).step("map the caller to root"),
            Step::SeparateMounts => separate_mounts().step("make mounts private"),
            Step::LayImage => {
                self.root = Some(layers::as_caller(&self.legacy.plan.image, self.legacy.room)?);
                Ok(())
            }
            Step::OpenVolumes => {
                let volumes = self.legacy.plan.volumes.iter();
                self.volumes =
                    volumes.map(|volume| volumes::open(volume, None)).collect::<Result<_, _>>()?;
                Ok(())
            }
            Step::EnterRoot => self.enter_root().step("make the image the root"),
            Step::Mount { kind, at, flags, options } => {
                make_directory(at)?;
                put(kind, kind, at, MsFlags::from_bits_truncate(*flags), options)
            }
            Step::Tmpfs(Tmpfs { at, flags, options }) => {
                fs::create_dir_all(at).step_with(|| format!("make {}", at.display()))?;
                isolate::tmpfs_with(at, MsFlags::from_bits_truncate(*flags), options)
                    .step_with(|| format!("mount memory at {}", at.display()))
            }
            Step::Device(name) => self.show_device(name).step_with(|| format!("show /dev/{name}")),
            Step::Link { at, to } => symlink(to, at).step_with(|| format!("link {at}")),
            Step::Volume { number, at } => self.show_volume(*number, at),
            Step::Mask(path) => self.mask(path).step_with(|| format!("mask {path}")),
            Step::ReadOnly(path) => {
                make_read_only(path).step_with(|| format!("make {path} read-only"))
            }
            Step::LeaveHost => self.leave_host().step("unmount the host's tree"),
            Step::Temporary => root::provide_tmp().step("make /tmp"),
            Step::HostName(name) => {
                names::set_hostname(name)?;
                names::set_hosts(name, self.known.address)
            }
            Step::Loopback => isolate::bring_loopback_up(),
            Step::Interface => {
                self.known = network::set_up(&self.network, "")?;
                Ok(())
            }
            Step::Rate(rate) => limit_rate(*rate).step("limit the rate of eth0 (tc-tbf)"),
            Step::Resolver => names::set_resolver(&self.known.servers, &self.network.search),
            Step::HostSysfs => self.show_sysfs().step("show /sys"),
            Step::ReadOnlyRoot => remount_read_only("/").step("make the root read-only"),
            Step::OomScore(score) => hardening::raise_oom_score(*score).step("raise the OOM score"),
            Step::Landlock(writable) => {
                wall_off(writable.as_deref()).step("restrict itself (Landlock)")
            }
            Step::AllSignals => isolate::dispositions::reset().step("reset what signals do"),
            Step::OwnClock => start_clock().step("start a clock of its own"),
            Step::OwnKeyring => own_keyring().step("leave the caller's keys"),
            Step::Capabilities(granted) => {
                CapabilitySets::of_init(*granted).apply().step("drop capabilities")
            }
            Step::Filter => Filter::new(self.legacy.plan.capabilities)
                .install_for_administrator()
                .step("filter system calls"),
            Step::Hide => hide().step("hide PID 1"),
            Step::NoNewPrivileges => {
                hardening::no_new_privileges().step("give up gaining privileges")
            }
        }
    }

    /// By itself: it takes the kernel milliseconds to move another.
    fn enter_groups(&mut self, shown_as_root: bool) -> io::Result<()> {
        for entrance in self.entrances.drain(..) {
            File::from(entrance).write_all(b"0")?;
        }
        if shown_as_root {
            unshare(CloneFlags::CLONE_NEWCGROUP)?;
        }
        Ok(())
    }

    fn get_provisions(&mut self) -> io::Result<()> {
        self.volumes = provisions::receive(&self.provisions)?;
        // A root that was laid outside comes first.
        if self.volumes.len() > self.legacy.plan.volumes.len() {
            self.root = Some(self.volumes.remove(0));
        }
        Ok(())
    }

    fn enter_root(&mut self) -> io::Result<()> {
        let root = self.root.as_ref().ok_or(Errno::ENOENT)?;
        isolate::attach_over(root, self.room.as_fd())?;
        fchdir(root)?;
        // The old root comes to lie over the new one, and is where this process stays for now.
        pivot_root(".", ".")?;
        Ok(fchdir(&self.host)?)
    }

    /// A device of the host, whose root is the working directory.
    fn show_device(&self, name: &str) -> io::Result<()> {
        let target = format!("/dev/{name}");
        File::create_new(&target)?;
        let tree = isolate::clone_tree(Some(self.host.as_fd()), &Path::new("dev").join(name))?;
        isolate::attach(tree, Path::new(&target))
    }

    /// The host's, whose root is the working directory.
    fn show_sysfs(&self) -> io::Result<()> {
        fs::create_dir_all("/sys")?;
        let tree = isolate::clone_tree(Some(self.host.as_fd()), Path::new("sys"))?;
        let attributes = Attributes { read_only: true, no_suid: true, no_devices: true };
        isolate::restrict(&tree, attributes)?;
        isolate::attach(tree, Path::new("/sys"))
    }

    fn show_volume(&self, number: usize, at: &Path) -> Result<(), Failure> {
        let show = || -> io::Result<()> {
            let tree = self.volumes.get(number).ok_or(Errno::ENOENT)?;
            fs::create_dir_all(at)?;
            isolate::attach(tree, at)
        };
        show().step_with(|| format!("show the volume at {}", at.display()))
    }

    /// Files by an empty device, directories by an empty file system.
    fn mask(&self, path: &str) -> io::Result<()> {
        match fs::metadata(path) {
            // Not every kernel has everything.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(metadata) if metadata.is_dir() => {
                let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
                isolate::tmpfs_with(Path::new(path), flags, "size=0,mode=0555")
            }
            Ok(_) => isolate::bind(Path::new("/dev/null"), Path::new(path)),
        }
    }

    fn leave_host(&self) -> io::Result<()> {
        fchdir(&self.host)?;
        umount2(".", MntFlags::MNT_DETACH)?;
        Ok(nix::unistd::chdir("/")?)
    }
}

/// All ids at once; there are no other groups.
fn become_root() -> io::Result<()> {
    setgroups(&[])?;
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    setresgid(gid, gid, gid)?;
    Ok(setresuid(uid, uid, uid)?)
}

fn limit_rate(rate: u64) -> io::Result<()> {
    traffic::limit(&Netlink::open()?, interfaces::find("eth0")?.index, rate)
}

fn separate_mounts() -> nix::Result<()> {
    let flags = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
}

fn make_directory(path: &str) -> Result<(), Failure> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.step_with(|| format!("make {path}")),
    }
}

/// Whatever is mounted below it stays as it is.
fn make_read_only(path: &str) -> io::Result<()> {
    let path = Path::new(path);
    let tree = match isolate::clone_tree(None, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    isolate::make_read_only(&tree)?;
    isolate::attach(tree, path)
}

fn remount_read_only(path: &str) -> io::Result<()> {
    // What can be written to alone, /proc/sysrq-trigger for one, can't be opened otherwise.
    let root = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    isolate::make_read_only(&root)
}

/// Gives up what the kernel lets it give up. What may be written to lies in the image, which may have links
/// on the way there: they lead nowhere but into the container.
fn wall_off(writable: Option<&[PathBuf]>) -> io::Result<()> {
    let real =
        |path: &PathBuf| Ok(CString::new(fs::canonicalize(path)?.into_os_string().into_vec())?);
    let writable = writable.map(|paths| paths.iter().map(real).collect::<io::Result<_>>());
    let wall = Landlock { writable: writable.transpose()?, abstract_sockets: true, signals: true };
    Ok(wall.apply(Abi::of_kernel())?)
}

/// Children that are started from now on have their own clocks of uptime, which begin now.
fn start_clock() -> io::Result<()> {
    match unshare(CloneFlags::from_bits_retain(libc::CLONE_NEWTIME)) {
        // The kernel has no time namespaces: a difference that a command can only see.
        Err(Errno::EINVAL) => return Ok(()),
        other => other?,
    }
    let mut offsets = String::new();
    for (name, clock) in [("monotonic", libc::CLOCK_MONOTONIC), ("boottime", libc::CLOCK_BOOTTIME)]
    {
        let now = nix::time::clock_gettime(nix::time::ClockId::from_raw(clock))?;
        offsets.push_str(&format!("{name} -{} 0\n", now.tv_sec()));
    }
    fs::write("/proc/self/timens_offsets", offsets)
}

/// Whoever has used up their keys goes without: what else keeps commands from keys is the filter.
fn own_keyring() -> io::Result<()> {
    match hardening::own_session_keyring() {
        Ok(_) | Err(Errno::EDQUOT | Errno::ENOSYS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The order matters: the tie to the parent is undone by changes of who this process is.
fn hide() -> io::Result<()> {
    // SAFETY: the process has a single thread, and has read what it was started with.
    unsafe { isolate::rename(c"duplex-init") }?;
    hardening::not_dumpable()?;
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    Ok(())
}
