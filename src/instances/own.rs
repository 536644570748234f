//! An instance of this process: its place on disk, from the claim of its name to its end.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::about::{About, Ended};
use super::log::Log;
use super::{ABOUT, Entry, Error, KEPT, OUTSIDE, SOCKET, open, through};
use crate::isolate::Identified;
use crate::isolate::cgroups::Group;
use crate::state::{INSTANCE, Place};

/// The place of an instance of this process.
#[derive(Debug)]
pub struct Instance {
    place: Place,
    remains: bool,
}

impl Instance {
    /// Takes the name; given up when this is dropped.
    ///
    /// # Errors
    /// Somebody has it.
    pub fn claim(about: &About) -> Result<Instance, Error> {
        let state = open()?;
        let made = state.create(&format!("{INSTANCE}{}", about.name), |place| {
            let entry = Entry { about: about.clone(), run_by: Identified::this()? };
            fs::write(place.path.join(ABOUT), serde_json::to_vec(&entry)?)
        })?;
        made.map(|(place, ())| Instance { place, remains: about.remains })
            .ok_or_else(|| Error::Taken(about.name.clone()))
    }

    /// Where its socket belongs: a path that is short, whatever the state directory's is, and means
    /// something in this process only.
    pub fn socket(&self) -> PathBuf {
        self.shortcut(SOCKET)
    }

    /// The path of a file of its own that is short in the same way.
    pub fn shortcut(&self, name: &str) -> PathBuf {
        through(&self.place.directory, name)
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        &self.place.path
    }

    /// A file of its own.
    pub fn file(&self, name: &str) -> PathBuf {
        self.place.path.join(name)
    }

    /// Makes an empty directory in which things can be mounted.
    ///
    /// # Errors
    /// The file system's.
    pub fn room(&self) -> io::Result<PathBuf> {
        self.place.make_work()
    }

    /// Its log, if it has one.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn log(&self) -> io::Result<Option<Log>> {
        self.remains.then(|| Log::create(&self.place.path)).transpose()
    }

    /// Has others find its control group: to count, to stop, and to remove it when this process has been
    /// killed. To be called before there is one.
    ///
    /// # Errors
    /// The file system's.
    pub fn remember(&self, group: &Group) -> io::Result<()> {
        if group.members().is_empty() {
            return Ok(());
        }
        fs::write(self.file(OUTSIDE), serde_json::to_vec(group)?)
    }

    /// Gives it up at its end, or leaves what is to remain: its log, and what others want to know. Nothing
    /// that belongs to it outside of its place may be left.
    ///
    /// # Errors
    /// The file system's.
    pub fn conclude(self, ended: &Ended) -> io::Result<()> {
        if self.remains {
            self.place.tidy(&KEPT)?;
        }
        // Whoever waits for it has the lock's file open.
        self.place.conclude(&serde_json::to_vec(ended)?)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let has_ended = || self.place.lock.metadata().is_ok_and(|lock| lock.len() > 0);
        if !(self.remains && has_ended()) {
            self.place.remove();
        }
    }
}
