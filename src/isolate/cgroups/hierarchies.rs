//! Where our groups are: in which hierarchies, and below which group of each.

use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};

use super::controller::Controller;
use super::error::Error;
use super::group::Version;
use crate::host::{Hierarchies, Legacy, Mount, own_group};

/// The control groups of this host, and the name of the group in each hierarchy that is ours.
#[derive(Debug)]
pub struct Cgroups {
    pub(super) hierarchies: Hierarchies,
    /// The group that all instances are in.
    parent: String,
    own: PathBuf,
    // The text of the file above; most callers may change the root and never need it.
    groups: OnceCell<Vec<u8>>,
}

/// A hierarchy in which we may have groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Home {
    pub(super) version: Version,
    /// The group that ours is made in.
    pub(super) base: PathBuf,
    /// Ours.
    pub(super) parent: PathBuf,
}

impl Cgroups {
    /// What our group is called.
    pub const NAME: &str = "duplex";

    /// Those of this host, with a group of this name as ours: [`Cgroups::NAME`], or another for those
    /// who must not sweep away what the first one's instances have.
    pub fn find(parent: &str) -> Result<Self, Error> {
        Self::at(Hierarchies::find(), parent, Path::new("/proc/self/cgroup"))
    }

    /// The same for given hierarchies, and a file that tells in which groups this process is.
    pub fn at(hierarchies: Hierarchies, parent: &str, own: &Path) -> Result<Self, Error> {
        check_name(parent)?;
        let (parent, own) = (parent.to_owned(), own.to_owned());
        Ok(Self { hierarchies, parent, own, groups: OnceCell::new() })
    }

    /// Where a controller's groups are. A controller belongs to one hierarchy only.
    pub(super) fn home(&self, controller: Controller) -> Result<Home, Error> {
        let name = controller.legacy();
        let legacy = self.hierarchies.legacy.iter().find(|l| l.controllers.contains(name));
        let home = match legacy {
            Some(legacy) => self.legacy_home(legacy, name),
            None if self.hierarchies.unified.is_some() => self.unified_home(),
            None => return Err(Error::NotAvailable(controller)),
        };
        home.ok_or(Error::NotPermitted(controller))
    }

    /// Where groups of version 2 are, if this user may have any.
    pub(super) fn unified_home(&self) -> Option<Home> {
        self.home_in(self.hierarchies.unified.as_ref()?, Version::Two, None)
    }

    fn legacy_home(&self, legacy: &Legacy, controller: &str) -> Option<Home> {
        self.home_in(&legacy.mount, Version::One, Some(controller))
    }

    /// All places where groups of ours can be, and what is controlled there.
    pub(super) fn homes(&self) -> Vec<(Home, Vec<Controller>)> {
        let legacy = self.hierarchies.legacy.iter().filter_map(|legacy| {
            let of = |controller: &Controller| legacy.controllers.contains(controller.legacy());
            let controllers: Vec<_> = Controller::ALL.into_iter().filter(of).collect();
            Some((self.legacy_home(legacy, controllers.first()?.legacy())?, controllers))
        });
        self.unified_home().map(|home| (home, Vec::new())).into_iter().chain(legacy).collect()
    }

    fn home_in(&self, mount: &Mount, version: Version, controller: Option<&str>) -> Option<Home> {
        let base = if may_change(&mount.point) {
            mount.point.clone()
        } else {
            // Whoever may change a group above their own may move processes from their own to others
            // below that one.
            let text = self.groups.get_or_init(|| fs::read(&self.own).unwrap_or_default());
            let own = own_group(text, controller)?;
            mount.lineage(&own).into_iter().skip(1).find(|group| may_change(group))?
        };
        Some(Home { version, parent: base.join(&self.parent), base })
    }
}

/// Whether this user may make groups in a group; whoever delegates that lets them move processes there
/// too.
fn may_change(group: &Path) -> bool {
    faccessat(AT_FDCWD, group, AccessFlags::W_OK, AtFlags::AT_EACCESS).is_ok()
}

/// Whether a name can be that of a group: it must not lead elsewhere, nor be that of a file there.
pub(super) fn check_name(name: &str) -> Result<(), Error> {
    let known = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let starts = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    // Files are named after a controller and a dot.
    let is_file = name.split_once('.').is_some_and(|(first, _)| {
        ["cgroup", "hugetlb", "misc", "rdma", "dmem", "irq"].contains(&first)
            || ["cpu", "cpuacct", "cpuset", "memory", "io", "blkio", "pids"].contains(&first)
            || ["devices", "freezer", "net_cls", "net_prio", "perf_event"].contains(&first)
    });
    let is_file = is_file || matches!(name, "tasks" | "notify_on_release" | "release_agent");
    if starts && name.len() <= 128 && name.chars().all(known) && !is_file {
        Ok(())
    } else {
        Err(Error::Name(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere_else() {
        for name in ["a", "0", "web-1", "a.b_c", "cpu", "memory-hog"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        let long = "x".repeat(129);
        for name in ["", ".", "..", "a/b", "-a", ".a", "a\n", "é", "cgroup.procs", "tasks", &long]
        {
            assert!(matches!(check_name(name), Err(Error::Name(_))), "{name}");
        }
    }
}
