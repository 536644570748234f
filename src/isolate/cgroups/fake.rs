//! Directories that look like control groups, for tests of what is read and planned.

use std::fs;
use std::path::{Path, PathBuf};

use super::Cgroups;
use crate::host::{Hierarchies, Legacy, Mount};

/// Hierarchies in a directory.
pub(super) struct Fake {
    place: tempfile::TempDir,
    hierarchies: Hierarchies,
}

impl Fake {
    pub(super) fn new() -> Self {
        Self { place: tempfile::tempdir().unwrap(), hierarchies: Hierarchies::default() }
    }

    /// Mounts version 2 with these controllers.
    pub(super) fn unified(mut self, controllers: &str) -> Self {
        let mount = self.mount("unified");
        self.hierarchies.unified = Some(mount);
        self.put("unified/cgroup.controllers", controllers);
        self.put("unified/cgroup.subtree_control", "");
        self
    }

    /// Mounts hierarchies of version 1 with these controllers.
    pub(super) fn legacy(mut self, names: &[&str]) -> Self {
        for name in names {
            let mount = self.mount(name);
            let controllers = name.split(',').map(String::from).collect();
            self.hierarchies.legacy.push(Legacy { mount, controllers });
        }
        self
    }

    fn mount(&self, name: &str) -> Mount {
        self.put(&format!("{name}/cgroup.procs"), "");
        Mount { point: self.path(name), root: "/".into() }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Puts a file there, with the directories that lead to it.
    pub(super) fn put(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(super) fn cgroups(&self) -> Cgroups {
        let own = self.path("own");
        if !own.exists() {
            fs::write(&own, "0::/\n").unwrap();
        }
        Cgroups::at(self.hierarchies.clone(), Cgroups::NAME, &own).unwrap()
    }

    /// A text with the place of it all left out.
    pub(super) fn relative(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.place.path().display()), "")
    }

    pub(super) fn root(&self) -> &Path {
        self.place.path()
    }
}
