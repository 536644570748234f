//! A contender as two closures: how it is called, and what is removed after that.

use std::path::PathBuf;
use std::process::Command;

use super::Found;
use crate::bench::contender::{Contender, Job};
use crate::bench::results::Contender as Described;

type Call = dyn Fn(&Job, u64) -> Result<Command, String> + Send + Sync;
type Clean = dyn Fn(u64) + Send + Sync;

/// One that is called.
pub(super) struct Called {
    described: Described,
    files: Vec<PathBuf>,
    call: Box<Call>,
    clean: Box<Clean>,
}

impl Called {
    /// It is called so, and reads these files.
    pub(super) fn new(
        described: Described,
        files: Vec<PathBuf>,
        call: impl Fn(&Job, u64) -> Result<Command, String> + Send + Sync + 'static,
    ) -> Self {
        Self { described, files, call: Box::new(call), clean: Box::new(|_| ()) }
    }

    /// After each start this is done.
    pub(super) fn cleaned(mut self, clean: impl Fn(u64) + Send + Sync + 'static) -> Self {
        self.clean = Box::new(clean);
        self
    }

    pub(super) fn found(self) -> Found {
        Ok(Box::new(self))
    }
}

impl Contender for Called {
    fn described(&self) -> &Described {
        &self.described
    }

    fn command(&self, job: &Job, number: u64) -> Result<Command, String> {
        (self.call)(job, number)
    }

    fn clean_up(&self, number: u64) {
        (self.clean)(number);
    }

    fn files(&self) -> Vec<PathBuf> {
        self.files.clone()
    }
}

/// What a contender cannot do of what a job asks for.
///
/// # Errors
/// It asks for that.
pub(super) fn refuse(asked: bool, what: &str) -> Result<(), String> {
    if asked { Err(format!("it has no {what}")) } else { Ok(()) }
}
