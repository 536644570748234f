//! The container's PID 1: a copy of duplex that furnishes its namespaces and then serves the session.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::Shutdown;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;
use nix::mount::MsFlags;
use nix::sched::{CloneFlags, unshare};

use super::layers;
use super::mounts::{self, Host};
use super::plan::Plan;
use super::process;
use super::step::Step;
use super::volumes;
use super::wall::Wall;
use crate::failure::{Failure, Step as _};
use crate::init::{self, Door, Setting, names, network, root};
use crate::isolate::capabilities::CapabilitySets;
use crate::isolate::mounting::put;
use crate::isolate::netlink::Netlink;
use crate::isolate::seccomp::Filter;
use crate::isolate::{self, IdentityMap, Title};
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
    if legacy.plan.last_step().is_some() {
        return stand_still(legacy, provisions, entrances);
    }
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

/// The life of a PID 1 that is only to be looked at: it takes its steps, says so, or why not, and waits
/// until nobody looks any more.
fn stand_still(legacy: &Legacy<'_>, provisions: OwnedFd, entrances: Vec<OwnedFd>) -> u8 {
    let provisions = UnixStream::from(provisions);
    let Ok(mut outside) = provisions.try_clone() else { return FAILED };
    let furnished = Furnishing::new(legacy, provisions, entrances).and_then(|mut furnishing| {
        furnishing.furnish(0..legacy.plan.steps.len()).map(|()| furnishing)
    });
    let said = match &furnished {
        Ok(_) => outside.write_all(&[0]),
        Err(failure) => outside.write_all(failure.to_string().as_bytes()),
    };
    // What it still has open of the host stays so meanwhile.
    match said.and_then(|()| outside.shutdown(Shutdown::Write)) {
        Ok(()) => {
            // Provisions that no step has asked for come first.
            let _ = io::copy(&mut outside, &mut io::sink());
            0
        }
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
    /// Until it is left.
    host: Option<Host>,
    /// What this process is called, asked for while /proc is the host's.
    title: Title,
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
        let host = Some(Host::open(legacy.room)?);
        let title = Title::find().step("find what PID 1 was called with")?;
        let (root, volumes) = (None, Vec::new());
        let network = init::Network::default();
        let known = network::Known { address: None, servers: Vec::new() };
        Ok(Self { legacy, entrances, provisions, root, volumes, host, title, network, known })
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
            Step::BecomeRoot => process::become_root().step("become root of the user namespace"),
            Step::MapCaller => isolate::map_self(self.legacy.caller).step("map the caller to root"),
            Step::SeparateMounts => mounts::separate().step("make mounts private"),
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
                mounts::make_mount_point(at).step_with(|| format!("make {at}"))?;
                put(kind, kind, at, MsFlags::from_bits_truncate(*flags), options)
            }
            Step::Tmpfs(Tmpfs { at, flags, options }) => {
                fs::create_dir_all(at).step_with(|| format!("make {}", at.display()))?;
                isolate::tmpfs_with(at, MsFlags::from_bits_truncate(*flags), options)
                    .step_with(|| format!("mount memory at {}", at.display()))
            }
            Step::Device(name) => self
                .host()
                .and_then(|host| host.show_device(name))
                .step_with(|| format!("show /dev/{name}")),
            Step::Link { at, to } => symlink(to, at).step_with(|| format!("link {at}")),
            Step::Volume { number, at } => self.show_volume(*number, at),
            Step::Mask(path) => mounts::mask(path).step_with(|| format!("mask {path}")),
            Step::ReadOnly(path) => {
                mounts::make_read_only(path).step_with(|| format!("make {path} read-only"))
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
            Step::HostSysfs => self.host().and_then(Host::show_sysfs).step("show /sys"),
            Step::ReadOnlyRoot => mounts::remount_read_only("/").step("make the root read-only"),
            Step::OomScore(score) => hardening::raise_oom_score(*score).step("raise the OOM score"),
            Step::Landlock(writable) => {
                process::wall_off(writable.as_deref()).step("restrict itself (Landlock)")
            }
            Step::AllSignals => isolate::dispositions::reset().step("reset what signals do"),
            Step::OwnClock => process::start_clock().step("start a clock of its own"),
            Step::OwnKeyring => process::own_keyring().step("leave the caller's keys"),
            Step::Capabilities(granted) => {
                CapabilitySets::of_init(*granted).apply().step("drop capabilities")
            }
            Step::Filter => Filter::new(self.legacy.plan.capabilities)
                .install_for_administrator()
                .step("filter system calls"),
            Step::Hide => process::hide(&self.title).step("hide PID 1"),
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

    fn enter_root(&self) -> io::Result<()> {
        self.host()?.enter(self.root.as_ref().ok_or(Errno::ENOENT)?)
    }

    fn host(&self) -> io::Result<&Host> {
        Ok(self.host.as_ref().ok_or(Errno::ENOENT)?)
    }

    fn leave_host(&mut self) -> io::Result<()> {
        self.host.take().ok_or(Errno::ENOENT)?.leave()
    }

    fn show_volume(&self, number: usize, at: &Path) -> Result<(), Failure> {
        let show = || -> io::Result<()> {
            let tree = self.volumes.get(number).ok_or(Errno::ENOENT)?;
            fs::create_dir_all(at)?;
            isolate::attach(tree, at)
        };
        show().step_with(|| format!("show the volume at {}", at.display()))
    }
}

fn limit_rate(rate: u64) -> io::Result<()> {
    traffic::limit(&Netlink::open()?, interfaces::find("eth0")?.index, rate)
}
