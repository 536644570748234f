//! What makes a container, decided before anything is done.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::kernel_files;
use super::network::{Attachment, Network};
use super::openings::Openings;
use super::step::Step;
use super::users::USERS;
use crate::isolate::capabilities::Capabilities;
use crate::isolate::cgroups::DeviceRule;
use crate::isolate::rlimits::Ulimit;
use crate::isolate::seccomp::Summary;
use crate::isolate::{Namespaces, apparmor, is_master_of_all_files};
use crate::workload::Tmpfs;

/// What a container is to be.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The directory with the root file system.
    pub(crate) image: PathBuf,
    /// The container's name.
    pub(crate) hostname: String,
    /// Directories of the host.
    pub(crate) volumes: Vec<Volume>,
    /// Whether the root cannot be written to.
    pub(crate) read_only: bool,
    /// What its root may do in its namespaces.
    pub(crate) capabilities: Capabilities,
    /// File systems in memory.
    pub(crate) tmpfs: Vec<Tmpfs>,
    /// How large /dev/shm may be, in bytes.
    pub(crate) shm_size: Option<u64>,
    /// Resource limits of each command.
    pub(crate) ulimits: Vec<Ulimit>,
    /// How early the host's kernel kills it when memory is short.
    pub(crate) oom_score: Option<i16>,
    /// Whether commands are confined by AppArmor.
    pub(crate) apparmor: bool,
    /// Where its packets go.
    pub(crate) network: Network,
    /// Walls that it does without.
    pub(crate) openings: Openings,
    /// The disk of the image, where that is to be its root instead of the directory.
    pub(crate) disk: Option<PathBuf>,
}

/// A directory of the host in a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Volume {
    /// Its real path.
    pub(crate) host: PathBuf,
    /// Where it appears.
    pub(crate) at: PathBuf,
    /// Whether it can't be written to.
    pub(crate) read_only: bool,
}

/// Whom the container's users are outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Users {
    /// Users that exist nowhere else, and own nothing there.
    Range,
    /// The host's.
    Host,
    /// The caller is its root, and has no others to give.
    Caller,
}

/// The way to a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(super) users: Users,
    pub(super) image: PathBuf,
    pub(super) volumes: Vec<Volume>,
    /// What its PID 1 does, in order.
    pub(super) steps: Vec<Step>,
    /// What the filter on system calls goes by.
    pub(super) capabilities: Capabilities,
    pub(super) ulimits: Vec<Ulimit>,
    pub(super) apparmor: bool,
    /// Walls that it does without.
    pub(super) openings: Openings,
    disk: Option<PathBuf>,
    network: Network,
    /// The step behind which it ends, if it is not to be made altogether.
    #[serde(default)]
    cut: Option<String>,
}

/// How many steps duplex takes itself, before those of PID 1.
const OUTSIDE: usize = 3;

impl Plan {
    /// Plans a container for the user that this process is.
    ///
    /// # Errors
    /// That this user can have none of these.
    pub(crate) fn new(wanted: &Wanted) -> Result<Plan, &'static str> {
        let users = match (is_master_of_all_files(), wanted.openings.users) {
            (true, false) => Users::Range,
            (true, true) => Users::Host,
            (false, false) => Users::Caller,
            (false, true) => {
                return Err(
                    "--userns host: only root can make a container without a user namespace",
                );
            }
        };
        Ok(Plan {
            users,
            image: wanted.image.clone(),
            volumes: wanted.volumes.clone(),
            steps: steps(wanted, users),
            capabilities: wanted.capabilities,
            ulimits: wanted.ulimits.clone(),
            apparmor: wanted.apparmor,
            openings: wanted.openings,
            disk: wanted.disk.clone(),
            network: wanted.network.clone(),
            cut: None,
        })
    }

    /// Ends the way behind a step: one by its number, as the plan is printed, or the first whose name has
    /// this text in it. It is left to be looked at, then.
    ///
    /// # Errors
    /// There is no such step of PID 1, or it needs somebody outside who is not there.
    pub(crate) fn cut(&mut self, until: &str) -> Result<(), String> {
        if !matches!(self.network.attachment, Attachment::None) {
            return Err(
                "--until: the network is connected when all is done: leave --net away".into()
            );
        }
        let last = OUTSIDE + self.steps.len();
        let number = match until.parse() {
            Ok(number) => number,
            Err(_) => {
                let named = |step: &Step| step.to_string().contains(until);
                let at = self.steps.iter().position(named).ok_or_else(|| {
                    format!("--until {until:?}: no step has that in its name: see --explain")
                })?;
                OUTSIDE + at + 1
            }
        };
        let inside = number.checked_sub(OUTSIDE).filter(|inside| *inside <= self.steps.len());
        let inside = inside.filter(|inside| *inside > 0).ok_or_else(|| {
            let first = OUTSIDE + 1;
            format!("--until {until}: give a step of PID 1, {first} to {last}: see --explain")
        })?;
        self.steps.truncate(inside);
        let name = self.steps.last().map(Step::to_string).unwrap_or_default();
        self.cut = Some(format!("{number}. {name}"));
        Ok(())
    }

    /// The step behind which it ends, if it is not to be made altogether.
    pub(crate) fn last_step(&self) -> Option<&str> {
        self.cut.as_deref()
    }

    /// Has commands confined by AppArmor, or not.
    pub(crate) fn confine(&mut self, by_apparmor: bool) {
        self.apparmor = by_apparmor;
    }

    /// The disk of the image, where that is its root instead of the directory.
    pub(crate) fn disk(&self) -> Option<&Path> {
        self.disk.as_deref()
    }

    /// Where its packets go.
    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// What its PID 1 does before it needs to know what its network is, and what it does then.
    pub(super) fn split(&self) -> (Range<usize>, Range<usize>) {
        let all = self.steps.len();
        let at = match self.network.attachment {
            // The kernel shows pasta the namespaces of nobody who has changed their user.
            Attachment::User => 0,
            _ => self.steps.iter().position(Step::wants_network).unwrap_or(all),
        };
        (0..at, at..all)
    }

    /// What its PID 1 does, in order and in words.
    pub(crate) fn inside(&self) -> Vec<String> {
        let begin = ["run as PID 1".to_owned()];
        begin.into_iter().chain(self.steps.iter().map(Step::to_string)).collect()
    }

    /// The namespaces that its PID 1 is made in.
    pub(super) fn namespaces(&self) -> Namespaces {
        let always = Namespaces::MOUNT | Namespaces::PID | Namespaces::IPC | Namespaces::UTS;
        let users = if self.users == Users::Host { Namespaces::NONE } else { Namespaces::USER };
        let network = match self.network.attachment {
            Attachment::Host => Namespaces::NONE,
            _ => Namespaces::NETWORK,
        };
        always | users | network
    }

    /// The only devices that work in it, if its control group has to see to that: in a user namespace
    /// nobody can make a node of another.
    pub(crate) fn devices(&self) -> Option<&'static [DeviceRule]> {
        (self.users == Users::Host).then_some(&DeviceRule::DEFAULT)
    }
}

/// The order matters: what needs nothing from outside comes while duplex prepares the rest; a process that
/// has changed its user can no longer write to its own files in /proc (PR_SET_DUMPABLE), where the clock is
/// set; new mounts of proc and sysfs are allowed in a user namespace only while the host's are still in
/// sight, mount_namespaces(7); while this process has something of the host open it follows no path into the
/// image, whose links may lead through /proc to what is open; whatever needs a capability comes before they go.
fn steps(wanted: &Wanted, users: Users) -> Vec<Step> {
    let become_root = match users {
        Users::Range | Users::Host => Step::BecomeRoot,
        Users::Caller => Step::MapCaller,
    };
    let open = wanted.openings;
    let groups = Step::EnterGroups { shown_as_root: !open.groups };
    let mut steps = vec![groups, Step::AllSignals, Step::OwnClock];
    steps.extend(wanted.oom_score.map(Step::OomScore));
    steps.push(Step::SeparateMounts);
    let shares_network = wanted.network.attachment == Attachment::Host;
    if !shares_network {
        steps.push(Step::Loopback);
    }
    steps.extend([Step::Await, become_root]);
    if users == Users::Caller {
        steps.extend([Step::LayImage, Step::OpenVolumes]);
    }
    steps.push(Step::EnterRoot);
    steps.extend(kernel_files::mounts(wanted.shm_size, shares_network));
    steps.push(Step::LeaveHost);
    if !open.paths {
        steps.extend(kernel_files::walls(shares_network));
    }
    steps.extend(further_mounts(wanted));
    steps.push(Step::Temporary);
    steps.extend(wanted.network.steps());
    steps.push(Step::HostName(wanted.hostname.clone()));
    if wanted.read_only {
        steps.push(Step::ReadOnlyRoot);
    }
    steps.push(Step::Landlock(wanted.read_only.then(|| writable(wanted))));
    steps.extend([Step::OwnKeyring, Step::Hide]);
    if open.privileges && !open.calls {
        steps.push(Step::Filter);
    }
    steps.push(Step::Capabilities(wanted.capabilities));
    if !open.privileges {
        steps.push(Step::NoNewPrivileges);
    }
    steps
}

/// What the caller wants to be somewhere. One may lie in another: that is mounted first.
fn further_mounts(wanted: &Wanted) -> Vec<Step> {
    let volumes = wanted.volumes.iter().enumerate();
    let volumes = volumes
        .map(|(number, volume)| (&volume.at, Step::Volume { number, at: volume.at.clone() }));
    let tmpfs = wanted.tmpfs.iter().map(|tmpfs| (&tmpfs.at, Step::Tmpfs(tmpfs.clone())));
    let mut all: Vec<_> = volumes.chain(tmpfs).collect();
    all.sort_by_key(|(at, _)| at.components().count());
    all.into_iter().map(|(_, step)| step).collect()
}

/// What can be written to where the root cannot.
fn writable(wanted: &Wanted) -> Vec<PathBuf> {
    let volumes = wanted.volumes.iter().filter(|volume| !volume.read_only).map(|volume| &volume.at);
    let trees = volumes.chain(wanted.tmpfs.iter().map(|tmpfs| &tmpfs.at)).cloned();
    [PathBuf::from("/dev")].into_iter().chain(trees).collect()
}

impl fmt::Display for Plan {
    /// A numbered line for each step, with its reason below it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = if self.users == Users::Host { "" } else { "user, " };
        let start = match self.network.attachment {
            Attachment::Host => (
                format!("clone3 into the group, with {user}mount, pid, ipc and uts namespaces"),
                "the network is the host's, as asked for; of the rest its PID 1 sees nothing",
            ),
            _ => (
                format!(
                    "clone3 into the group, with {user}mount, pid, network, ipc and uts namespaces"
                ),
                "its PID 1 sees none of the host's, and the kernel kills all that is in them when it ends",
            ),
        };
        let outside = [
            start,
            match self.users {
                Users::Range => (
                    format!("map users and groups 0 to {} to unused ones of this host", USERS - 1),
                    "the container's root is nobody outside",
                ),
                Users::Host => (
                    "leave users and groups as they are on this host".into(),
                    "asked for: the container's root is the host's, with fewer capabilities",
                ),
                Users::Caller => (
                    "map user and group 0 to the caller".into(),
                    "the container's root may do no more than who started it",
                ),
            },
            (
                format!(
                    "lay a writable layer in memory over {}{}",
                    self.image.display(),
                    match self.users {
                        Users::Range => {
                            ", or over an ext4 of it where its file system allows no idmapped mounts"
                        }
                        Users::Host | Users::Caller => "",
                    }
                ),
                "the image stays as it is, and what is written vanishes with the container",
            ),
        ];
        let inside = self.steps.iter().map(|step| (step.to_string(), step.reason()));
        let filter = (
            format!(
                "put each command behind a filter on system calls: {}",
                Summary::new(self.capabilities)
            ),
            "what it has no use for is no way into the shared kernel (seccomp(2))",
        );
        let filter = (!self.openings.calls && !self.openings.privileges).then_some(filter);
        let limits = self
            .ulimits
            .iter()
            .map(|limit| (format!("limit each command: {limit}"), "asked for (getrlimit(2))"));
        let profile = self.apparmor.then(|| {
            (
                format!("confine each command by the AppArmor profile {}", apparmor::PROFILE),
                "mounts and the kernel's switches are out of reach even if all else fails (apparmor(7))",
            )
        });
        let inside = self.network.outside().into_iter().chain(inside);
        let all = outside.into_iter().chain(inside).chain(limits).chain(profile).chain(filter);
        for (number, (what, why)) in (1..).zip(all) {
            writeln!(f, "{number:3}. {what}\n       {why}")?;
        }
        Ok(())
    }
}
