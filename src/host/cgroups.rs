//! Control groups: which version, and which controllers, cgroups(7).

use std::collections::BTreeSet;

use super::check::Check;
use super::hierarchies::{Hierarchies, Mount};

/// What containers need for their limits.
const NEEDED: [&str; 4] = ["cpu", "io", "memory", "pids"];

const REMEDY: &str = "boot the host with systemd.unified_cgroup_hierarchy=1; until then limits are \
    set through the v1 hierarchies, and v2 can be tried in the testbed";

/// What limits containers can be given.
pub fn cgroups() -> Check {
    const NAME: &str = "control groups";
    let found = Hierarchies::find();
    let unified = found.unified.as_ref().map(Mount::controllers).unwrap_or_default();
    let legacy = found.legacy.iter().flat_map(|legacy| legacy.controllers.clone()).collect();
    let missing: Vec<&str> = NEEDED.into_iter().filter(|name| !unified.contains(*name)).collect();
    match (found.unified.is_some(), found.legacy.is_empty()) {
        (true, true) if missing.is_empty() => {
            Check::ok(NAME, format!("version 2 with {}", list(&unified)))
        }
        (true, true) => Check::limited(
            NAME,
            format!("version 2, without {}", missing.join(", ")),
            "delegate the controllers: add them to cgroup.subtree_control of the parent group",
        ),
        (true, false) => Check::limited(
            NAME,
            format!("mixed: version 1 with {}; version 2 with {}", list(&legacy), list(&unified)),
            REMEDY,
        ),
        (false, false) => Check::limited(NAME, format!("version 1 with {}", list(&legacy)), REMEDY),
        (false, true) => {
            Check::missing(NAME, "none are mounted", "sudo mount -t cgroup2 none /sys/fs/cgroup")
        }
    }
}

fn list(names: &BTreeSet<String>) -> String {
    if names.is_empty() {
        return "no controllers".into();
    }
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}
