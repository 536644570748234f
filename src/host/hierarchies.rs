//! Control group hierarchies: which are mounted where, and where in them a process is, cgroups(7).

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

const USUAL_PLACE: &str = "/sys/fs/cgroup";

/// The hierarchies that are mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchies {
    /// Version 2's, of which there is one.
    pub unified: Option<Mount>,
    /// Version 1's.
    pub legacy: Vec<Legacy>,
}

/// Where a hierarchy is visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The mount point.
    pub point: PathBuf,
    /// The group that is seen there: in a container it need not be the hierarchy's root.
    pub root: PathBuf,
}

/// A hierarchy of version 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Legacy {
    /// Where it is.
    pub mount: Mount,
    /// Its controllers; none in one that only names groups.
    pub controllers: BTreeSet<String>,
}

impl Hierarchies {
    /// Looks for them.
    pub fn find() -> Self {
        // The mounts are listed only where they tell more: that takes some twenty times as long.
        if statfs(USUAL_PLACE).is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC) {
            let mount = Mount { point: USUAL_PLACE.into(), root: "/".into() };
            return Self { unified: Some(mount), legacy: Vec::new() };
        }
        Self::read(&all_mounts().unwrap_or_default())
    }

    /// From the text of mountinfo, proc(5). Of mounts of the same hierarchy the first counts.
    pub fn read(mountinfo: &[u8]) -> Self {
        let mut found = Self::default();
        for line in mountinfo.split(|byte| *byte == b'\n') {
            let mut words = line.split(|byte| *byte == b' ');
            let (Some(root), Some(point)) = (words.nth(3), words.next()) else { continue };
            let mount = Mount { point: unescaped(point), root: unescaped(root) };
            // Fields of which there may be any number end with a hyphen.
            let mut words = words.skip_while(|word| *word != b"-").skip(1);
            match words.next() {
                Some(b"cgroup2") => {
                    found.unified.get_or_insert(mount);
                }
                Some(b"cgroup") => {
                    let options = words.nth(1).map(String::from_utf8_lossy).unwrap_or_default();
                    let controllers: BTreeSet<String> = options
                        .split(',')
                        .filter(|o| !o.contains('=') && !matches!(*o, "rw" | "ro" | "xattr"))
                        .map(String::from)
                        .collect();
                    if found.legacy_with(&controllers).is_none() {
                        found.legacy.push(Legacy { mount, controllers });
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// The hierarchy of version 1 with one of these controllers.
    fn legacy_with(&self, controllers: &BTreeSet<String>) -> Option<&Legacy> {
        self.legacy.iter().find(|legacy| !legacy.controllers.is_disjoint(controllers))
    }
}

impl Mount {
    /// What can be controlled in a hierarchy of version 2.
    pub fn controllers(&self) -> BTreeSet<String> {
        let names = fs::read_to_string(self.point.join("cgroup.controllers")).unwrap_or_default();
        names.split_whitespace().map(String::from).collect()
    }

    /// The directories from here down to that of a group, which is named as in [`own_group`]: this one
    /// alone for a group that is not visible here.
    pub fn lineage(&self, group: &Path) -> Vec<PathBuf> {
        let mut directory = self.point.clone();
        let mut lineage = vec![directory.clone()];
        let below = group.strip_prefix(&self.root).unwrap_or(Path::new(""));
        // A group outside of a cgroup namespace's root shows as one above it.
        if below.components().all(|part| matches!(part, std::path::Component::Normal(_))) {
            for part in below {
                directory.push(part);
                lineage.push(directory.clone());
            }
        }
        lineage
    }
}

/// From the text of a process's cgroup file, proc(5), its group in the hierarchy with this controller;
/// without one, in that of version 2.
pub fn own_group(text: &[u8], controller: Option<&str>) -> Option<PathBuf> {
    text.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.splitn(3, |byte| *byte == b':').skip(1);
        let names = fields.next()?;
        let is_it = match controller {
            Some(name) => names.split(|byte| *byte == b',').any(|word| word == name.as_bytes()),
            None => names.is_empty(),
        };
        let path = fields.next().filter(|_| is_it)?;
        Some(PathBuf::from(OsStr::from_bytes(path)))
    })
}

/// Reads mountinfo in few pieces: the kernel does not say beforehand how long it is.
fn all_mounts() -> io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(16 << 10);
    File::open("/proc/self/mountinfo")?.take(u64::MAX).read_to_end(&mut text)?;
    Ok(text)
}

/// Undoes what mountinfo does to blanks, tabs, line ends and backslashes: three octal digits.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let code = after
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        path.push(code.unwrap_or(*first));
        rest = if code.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    OsString::from_vec(path).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIXED: &[u8] = b"\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:3 master:1 - cgroup cgroup rw,cpu,cpuacct
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 /a\\040b /sys/fs/cgroup/uni\\134fied rw,relatime - cgroup2 cgroup2 rw
42 31 0:29 / /elsewhere rw,relatime - cgroup cgroup rw,cpu,cpuacct
";

    #[test]
    fn reads_mixed_hierarchies() {
        let found = Hierarchies::read(MIXED);
        let unified = found.unified.unwrap();
        assert_eq!(unified.point, Path::new("/sys/fs/cgroup/uni\\fied"));
        assert_eq!(unified.root, Path::new("/a b"));
        let of = |at: usize| found.legacy[at].controllers.iter().cloned().collect::<Vec<_>>();
        assert_eq!((of(0), of(1)), (vec!["cpu".into(), "cpuacct".into()], Vec::<String>::new()));
        assert_eq!(found.legacy[0].mount.point, Path::new("/sys/fs/cgroup/cpu"));
        assert_eq!(found.legacy.len(), 2);
        assert_eq!(Hierarchies::read(b"nonsense\n - \n"), Hierarchies::default());
    }

    #[test]
    fn a_process_is_in_one_group_of_each_hierarchy() {
        let text = b"4:memory:/a/b\n2:cpu,cpuacct:/c:d\n9:name=systemd:/\n0::/user/x\n";
        let own = |controller| own_group(text, controller).unwrap();
        assert_eq!(own(Some("memory")), Path::new("/a/b"));
        assert_eq!(own(Some("cpuacct")), Path::new("/c:d"));
        assert_eq!(own(None), Path::new("/user/x"));
        assert_eq!(own_group(text, Some("pids")), None);
        assert_eq!(own_group(b"\n:\n7", None), None);
    }

    #[test]
    fn the_way_down_to_a_group() {
        let lineage = |root: &str, group: &str| {
            let mount = Mount { point: "/m".into(), root: root.into() };
            let all = mount.lineage(Path::new(group));
            all.iter().map(|path| path.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(lineage("/", "/a/b"), ["/m", "/m/a", "/m/a/b"]);
        assert_eq!(lineage("/a", "/a/b"), ["/m", "/m/b"]);
        assert_eq!(lineage("/other", "/a/b"), ["/m"]);
        assert_eq!(lineage("/", "/../../a"), ["/m"]);
    }

    proptest! {
        #[test]
        fn nothing_in_these_files_makes_the_reader_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Hierarchies::read(&text);
            let _ = own_group(&text, Some("cpu"));
            let _ = unescaped(&text);
        }
    }
}
