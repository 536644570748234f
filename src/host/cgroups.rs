//! Control groups: which version, and which controllers, cgroups(7).

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::check::Check;

/// What containers need for their limits.
const NEEDED: [&str; 4] = ["cpu", "io", "memory", "pids"];

const REMEDY: &str = "boot the host with systemd.unified_cgroup_hierarchy=1; until then limits are \
    set through the v1 hierarchies, and v2 can be tried in the testbed";

/// What limits containers can be given.
pub fn cgroups() -> Check {
    const NAME: &str = "control groups";
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let found = Hierarchies::read(&mounts, |root| {
        fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default()
    });
    let missing: Vec<&str> =
        NEEDED.into_iter().filter(|name| !found.unified.contains(*name)).collect();
    match (found.unified_root.is_some(), found.legacy.is_empty()) {
        (true, true) if missing.is_empty() => {
            Check::ok(NAME, format!("version 2 with {}", list(&found.unified)))
        }
        (true, true) => Check::limited(
            NAME,
            format!("version 2, without {}", missing.join(", ")),
            "delegate the controllers: add them to cgroup.subtree_control of the parent group",
        ),
        (true, false) => Check::limited(
            NAME,
            format!(
                "mixed: version 1 with {}; version 2 with {}",
                list(&found.legacy),
                list(&found.unified)
            ),
            REMEDY,
        ),
        (false, false) => {
            Check::limited(NAME, format!("version 1 with {}", list(&found.legacy)), REMEDY)
        }
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

#[derive(Debug, Default, PartialEq, Eq)]
struct Hierarchies {
    unified_root: Option<PathBuf>,
    unified: BTreeSet<String>,
    legacy: BTreeSet<String>,
}

impl Hierarchies {
    /// From the text of mountinfo, proc(5), and a way to read a v2 hierarchy's controllers.
    fn read(mountinfo: &str, controllers: impl Fn(&PathBuf) -> String) -> Self {
        let mut found = Self::default();
        for line in mountinfo.lines() {
            let Some((mount, file_system)) = line.split_once(" - ") else { continue };
            let mut fields = file_system.split(' ');
            match fields.next() {
                Some("cgroup2") => {
                    let Some(root) = mount.split(' ').nth(4).map(PathBuf::from) else { continue };
                    let names = controllers(&root);
                    found.unified.extend(names.split_whitespace().map(String::from));
                    found.unified_root.get_or_insert(root);
                }
                Some("cgroup") => {
                    let options = fields.nth(1).unwrap_or_default().split(',');
                    let names = options
                        .filter(|o| !o.contains('=') && !matches!(*o, "rw" | "ro" | "xattr"));
                    found.legacy.extend(names.map(String::from));
                }
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_mixed_hierarchies() {
        let text = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
        let found = Hierarchies::read(text, |root| {
            assert_eq!(root, &PathBuf::from("/sys/fs/cgroup/unified"));
            "hugetlb\n".into()
        });
        assert_eq!(list(&found.legacy), "cpu, cpuacct");
        assert_eq!(list(&found.unified), "hugetlb");
        assert_eq!(Hierarchies::read("nonsense\n - \n", |_| String::new()), Hierarchies::default());
    }
}
