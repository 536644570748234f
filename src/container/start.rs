//! Starting a container: what duplex itself does for it.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::Pid;
use thiserror::Error;

use super::layers;
use super::look;
use super::pid1::{self, Legacy};
use super::plan::{Plan, Users};
use super::users::{USERS, UserRange};
use super::volumes;
use crate::failure::{Failure, Step as _};
use crate::isolate::cgroups::{self, Group};
use crate::isolate::{IdentityMap, Process, fork, map_range, provisions};
use crate::trace::boot::{Phase, Recorder};
use crate::trace::steps::SharedStamps;

/// Why there is no container.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// The kernel does not give the namespaces.
    #[error("a container's namespaces cannot be had: {0}; `duplex doctor` tells why")]
    Namespaces(#[source] io::Error),
    /// Its control group.
    #[error(transparent)]
    Group(#[from] cgroups::Error),
    /// A step outside.
    #[error(transparent)]
    Step(#[from] Failure),
}

/// Where the times of a start are recorded.
#[derive(Clone, Copy)]
pub(crate) struct Times<'a> {
    /// duplex's own.
    pub(crate) outside: &'a Recorder,
    /// Those of its PID 1, in the order of [`Plan::inside`], if anybody wants to know.
    pub(crate) inside: Option<&'a SharedStamps>,
}

/// A container that starts or runs.
#[derive(Debug)]
pub(crate) struct Container {
    process: Process,
    /// Its users, where they are nobody else's.
    users: Option<UserRange>,
    /// What a PID 1 that is only to be looked at says that it has come so far at.
    watched: Option<UnixStream>,
}

impl Container {
    /// Starts it in `group`. The session in it is at the other end of `channel`; further ones are asked
    /// for at `door`. `room` is an empty directory. Times are recorded by `times`. To be called while
    /// this process has a single thread.
    ///
    /// # Errors
    /// The kernel's, with the step.
    pub(crate) fn start(
        plan: &Plan,
        group: &Group,
        channel: &UnixStream,
        door: &UnixListener,
        room: &Path,
        times: Times<'_>,
    ) -> Result<Container, Error> {
        channel.set_nonblocking(true).step("prepare the session")?;
        door.set_nonblocking(true).step("prepare for further sessions")?;
        for limit in &plan.ulimits {
            limit.make_room().step_with(|| format!("raise the hard limit for {limit}"))?;
        }
        let (ours, theirs) = UnixStream::pair().step("make a socket")?;
        let legacy = Legacy { plan, room, caller: IdentityMap::of_caller(), stamps: times.inside };
        let entrances = group.entrances()?;
        let mut kept = vec![channel.as_fd(), theirs.as_fd(), door.as_fd()];
        kept.extend(entrances.iter().map(AsFd::as_fd));
        let unified = group.descriptor()?;
        // SAFETY: the caller sees to it that there is one thread.
        let process = unsafe {
            fork(plan.namespaces(), unified.as_ref(), &kept, |kept| pid1::live(kept, &legacy))
        }
        .map_err(Error::Namespaces)?;
        times.outside.reached(Phase::Cloned);
        let mut container = Container { process, users: None, watched: None };
        container.provide(plan, &ours, room)?;
        container.watched = plan.last_step().map(|_| ours);
        times.outside.reached(Phase::Provided);
        Ok(container)
    }

    fn provide(&mut self, plan: &Plan, to: &UnixStream, room: &Path) -> Result<(), Error> {
        let mut trees = Vec::new();
        let namespace = match plan.users {
            Users::Range => Some(self.map_range()?),
            Users::Host | Users::Caller => None,
        };
        if plan.users != Users::Caller {
            separate_mounts()?;
            let namespace = namespace.as_ref().map(AsFd::as_fd);
            trees.push(layers::with_owners(plan, namespace, room)?);
            for volume in &plan.volumes {
                trees.push(volumes::open(volume, namespace)?);
            }
        }
        let trees: Vec<BorrowedFd<'_>> = trees.iter().map(AsFd::as_fd).collect();
        Ok(hand_over(to, &trees).step("hand over what was prepared")?)
    }

    /// Gives the container its users. Returns the user namespace.
    fn map_range(&mut self) -> Result<OwnedFd, Failure> {
        let pid = self.process.pid();
        let range = UserRange::claim(pid.as_raw().unsigned_abs()).step("find unused users")?;
        map_range(pid, range.first(), USERS).step("map the container's users")?;
        self.users = Some(range);
        let path = format!("/proc/{pid}/ns/user");
        Ok(File::open(path).step("open the container's user namespace")?.into())
    }

    /// What there is to be seen of one that was cut off behind a step, once it has come there.
    ///
    /// # Errors
    /// A step of it has failed.
    pub(crate) fn look(&self) -> Result<String, Error> {
        let mut said = Vec::new();
        if let Some(mut watched) = self.watched.as_ref() {
            watched.read_to_end(&mut said).step("wait for the container's PID 1")?;
        }
        if said != [0] {
            let reason = io::Error::other(String::from_utf8_lossy(&said).into_owned());
            Err(reason).step("come to that step")?;
        }
        Ok(look::look(self.pid()).step("look at the container's PID 1")?)
    }

    /// Its first process. The number stays its own until it is waited for.
    pub(crate) fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// Waits until nothing of it runs any more.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn wait(&self) -> io::Result<()> {
        self.process.wait().map(drop)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // To no effect where it has ended, and been waited for.
        if self.process.kill().is_ok() {
            let _ = self.process.wait();
        }
    }
}

impl AsFd for Container {
    /// Readable once its PID 1 has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }
}

/// To PID 1. Where that waits no more a step of it has failed: its session tells which, and why.
fn hand_over(to: &UnixStream, trees: &[BorrowedFd<'_>]) -> io::Result<()> {
    match provisions::hand_over(to, trees) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Gives this process mounts of its own.
fn separate_mounts() -> Result<(), Failure> {
    unshare(CloneFlags::CLONE_NEWNS).step("get mounts of its own")?;
    let follow = MsFlags::MS_SLAVE | MsFlags::MS_REC;
    mount(None::<&str>, "/", None::<&str>, follow, None::<&str>).step("keep mounts inside")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_nobody_waits_any_more_is_no_failure_of_the_handing_over() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let tree = File::open("/").unwrap();
        drop(theirs);
        hand_over(&ours, &[]).unwrap();
        hand_over(&ours, &[tree.as_fd()]).unwrap();
    }
}
