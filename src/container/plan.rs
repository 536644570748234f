//! What makes a container, decided before anything is done.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::kernel_files;
use super::openings::Openings;
use super::step::Step;
use crate::isolate::capabilities::Capabilities;
use crate::isolate::cgroups::DeviceRule;
use crate::isolate::seccomp::Summary;
use crate::isolate::{Namespaces, is_master_of_all_files};

/// How many users and groups a container has, where root starts it.
pub(super) const USERS: u32 = 1 << 16;

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
    /// Walls that it does without.
    pub(crate) openings: Openings,
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
    /// Walls that it does without.
    pub(super) openings: Openings,
}

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
            openings: wanted.openings,
        })
    }

    /// The namespaces that its PID 1 is made in.
    pub(super) fn namespaces(&self) -> Namespaces {
        let users = if self.users == Users::Host { Namespaces::NONE } else { Namespaces::USER };
        users
            | Namespaces::MOUNT
            | Namespaces::PID
            | Namespaces::NETWORK
            | Namespaces::IPC
            | Namespaces::UTS
    }

    /// The only devices that work in it, if its control group has to see to that: in a user namespace
    /// nobody can make a node of another.
    pub(crate) fn devices(&self) -> Option<&'static [DeviceRule]> {
        (self.users == Users::Host).then_some(&DeviceRule::DEFAULT)
    }
}

/// The order matters: a process that has changed its user can no longer write to its own files in /proc
/// (PR_SET_DUMPABLE), where the clock is set; new mounts of proc and sysfs are allowed in a user namespace only while the
/// host's are still in sight, mount_namespaces(7); whatever needs a capability comes before they go.
fn steps(wanted: &Wanted, users: Users) -> Vec<Step> {
    let become_root = match users {
        Users::Range | Users::Host => Step::BecomeRoot,
        Users::Caller => Step::MapCaller,
    };
    let open = wanted.openings;
    let mut steps = vec![
        Step::EnterGroups { shown_as_root: !open.groups },
        Step::AllSignals,
        Step::OwnClock,
        become_root,
        Step::SeparateMounts,
    ];
    if users == Users::Caller {
        steps.extend([Step::LayImage, Step::OpenVolumes]);
    }
    steps.push(Step::EnterRoot);
    steps.extend(kernel_files::mounts());
    for (number, volume) in wanted.volumes.iter().enumerate() {
        steps.push(Step::Volume { number, at: volume.at.clone() });
    }
    if !open.paths {
        steps.extend(kernel_files::walls());
    }
    steps.push(Step::LeaveHost);
    steps.push(Step::Temporary);
    steps.push(Step::HostName(wanted.hostname.clone()));
    steps.push(Step::Loopback);
    if wanted.read_only {
        steps.push(Step::ReadOnlyRoot);
    }
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

impl fmt::Display for Plan {
    /// A numbered line for each step, with its reason below it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = if self.users == Users::Host { "" } else { "user, " };
        let outside = [
            (
                format!(
                    "clone3 into the group, with {user}mount, pid, network, ipc and uts namespaces"
                ),
                "its PID 1 sees none of the host's, and the kernel kills all that is in them when it ends",
            ),
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
        let all = outside.into_iter().chain(inside).chain(filter);
        for (number, (what, why)) in (1..).zip(all) {
            writeln!(f, "{number:3}. {what}\n       {why}")?;
        }
        Ok(())
    }
}
