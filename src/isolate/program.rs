//! A program to be started in namespaces of its own.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;

use super::cgroups::{self, Group};
use super::namespaces::{IdentityMap, Namespaces};
use super::privileges::Privileges;

/// What to start, and in which surroundings.
#[derive(Debug)]
pub struct Program {
    pub(super) path: CString,
    pub(super) argv: Vec<CString>,
    pub(super) env: Vec<CString>,
    pub(super) namespaces: Namespaces,
    pub(super) identity: Option<IdentityMap>,
    pub(super) descriptors: Vec<OwnedFd>,
    pub(super) dies_with_parent: bool,
    pub(super) privileges: Privileges,
    pub(super) cgroup: Option<OwnedFd>,
    pub(super) entrances: Vec<OwnedFd>,
}

impl Program {
    /// The program file at `path`, with the name it goes by and the arguments after that.
    pub fn new<A: AsRef<OsStr>>(
        path: impl AsRef<OsStr>,
        argv: impl IntoIterator<Item = A>,
    ) -> io::Result<Self> {
        Ok(Self {
            path: c_string(path.as_ref())?,
            argv: argv.into_iter().map(|arg| c_string(arg.as_ref())).collect::<io::Result<_>>()?,
            env: Vec::new(),
            namespaces: Namespaces::NONE,
            identity: None,
            descriptors: Vec::new(),
            dies_with_parent: false,
            privileges: Privileges::Kept,
            cgroup: None,
            entrances: Vec::new(),
        })
    }

    /// The environment; empty unless given.
    pub fn env<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> io::Result<Self> {
        for (name, value) in variables {
            let mut pair = name.as_ref().to_os_string();
            pair.push("=");
            pair.push(value.as_ref());
            self.env.push(c_string(&pair)?);
        }
        Ok(self)
    }

    /// The namespaces the program gets for itself.
    pub fn namespaces(mut self, namespaces: Namespaces) -> Self {
        self.namespaces = namespaces;
        self
    }

    /// Who is user 0 in the new user namespace; without one this has no effect.
    pub fn identity(mut self, map: IdentityMap) -> Self {
        self.identity = Some(map);
        self
    }

    /// The descriptors the program starts with, numbered from 0. It gets no others.
    pub fn descriptors(mut self, descriptors: Vec<OwnedFd>) -> Self {
        self.descriptors = descriptors;
        self
    }

    /// The kernel kills the program when the thread that started it ends, however that happens.
    pub fn dies_with_parent(mut self) -> Self {
        self.dies_with_parent = true;
        self
    }

    /// The control group that the program starts in. In version 2 it is there from its first moment on;
    /// those of version 1 it enters itself, before anything else. So a cgroup namespace that it makes
    /// for itself later has them as its roots; one that is made with the process would have the
    /// caller's.
    pub fn in_group(mut self, group: &Group) -> Result<Self, cgroups::Error> {
        self.cgroup = group.descriptor()?;
        self.entrances = group.entrances()?;
        Ok(self)
    }

    /// What of the caller's privileges the program keeps; all, unless given.
    pub fn privileges(mut self, privileges: Privileges) -> Self {
        self.privileges = privileges;
        self
    }
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| Errno::EINVAL.into())
}
