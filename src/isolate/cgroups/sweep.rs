//! What instances that were killed have left.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;

use super::error::Error;
use super::group::{Group, Member};
use super::hierarchies::Cgroups;

impl Cgroups {
    /// Kills what still runs in groups of instances that are not alive, and removes those groups.
    /// Returns their names.
    ///
    /// An instance has to be alive, in the eyes of `live`, before its group is made. Nothing outside
    /// of our own group is looked at.
    ///
    /// # Errors
    /// The first; the other leftovers are removed all the same.
    pub fn sweep(&self, live: impl Fn(&str) -> bool) -> Result<Vec<String>, Error> {
        let mut failed = None;
        let mut swept = Vec::new();
        for (name, group) in self.instances()? {
            if live(&name) {
                continue;
            }
            match group.kill_all().and_then(|()| group.remove()) {
                Ok(()) => swept.push(name),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(swept), Err)
    }

    /// Removes our own group, where it is there and no instance is in it. For a time in which none is
    /// started.
    pub fn remove_parent(&self) {
        for (home, _) in self.homes() {
            // One that is in use stays.
            let _ = fs::remove_dir(&home.parent);
        }
    }

    /// What is below our group in all hierarchies, by name.
    fn instances(&self) -> Result<BTreeMap<String, Group>, Error> {
        let mut found: BTreeMap<String, Group> = BTreeMap::new();
        for (home, controllers) in self.homes() {
            let failed = || Error::at(format!("list {}", home.parent.display()));
            let entries = match fs::read_dir(&home.parent) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                other => other.map_err(failed())?,
            };
            for entry in entries {
                let entry = entry.map_err(failed())?;
                let is_group = entry.file_type().is_ok_and(|kind| kind.is_dir());
                let Some(name) = entry.file_name().to_str().filter(|_| is_group).map(String::from)
                else {
                    continue;
                };
                let controllers = controllers.clone();
                let member = Member { version: home.version, controllers, path: entry.path() };
                found.entry(name).or_default().push(member);
            }
        }
        Ok(found)
    }
}
