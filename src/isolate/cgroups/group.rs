//! A group that exists: one directory in each hierarchy that it uses.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::controller::Controller;
use super::error::Error;
use super::{files, tree, v1, v2};
use crate::isolate::process::{open_pidfd, send_signal};

/// How long ended processes may take to leave their group.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where version 1 has no event to wait for.
const PAUSE: Duration = Duration::from_millis(1);

/// The version of a hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// One hierarchy a controller, or a few.
    #[serde(rename = "1")]
    One,
    /// One hierarchy for all.
    #[serde(rename = "2")]
    Two,
}

/// The group of an instance. A value: it can be stored, and used by another process; nothing happens
/// when it is dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    members: Vec<Member>,
}

/// A group's directory in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The hierarchy's version.
    pub version: Version,
    /// What the group is there for.
    pub controllers: Vec<Controller>,
    /// The directory.
    pub path: PathBuf,
}

impl Group {
    /// Its directories; none where no group could be had, and none was needed.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Whether each of its directories is called this, with something after it, in a file system of control
    /// groups: what was read from a file may name anything.
    pub fn is_called_like(&self, name: &str) -> bool {
        let of_groups = |path: &Path| match statfs(path).map(|found| found.filesystem_type()) {
            Ok(kind) => kind == CGROUP_SUPER_MAGIC || kind == CGROUP2_SUPER_MAGIC,
            // It is gone already.
            Err(_) => true,
        };
        self.members.iter().all(|Member { path, .. }| {
            let plain =
                path.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
            let called = path.file_name().is_some_and(|found| {
                found.to_string_lossy().strip_prefix(name).is_some_and(|rest| rest.starts_with('-'))
            });
            path.is_absolute() && plain && called && of_groups(path)
        })
    }

    pub(super) fn push(&mut self, member: Member) {
        self.members.push(member);
    }

    /// The directory in version 2.
    pub(super) fn unified(&self) -> Option<&Member> {
        self.members.iter().find(|member| member.version == Version::Two)
    }

    pub(super) fn member_with(&self, controller: Controller) -> Option<&Member> {
        self.members.iter().find(|member| member.controllers.contains(&controller))
    }

    /// The directory in version 2, for clone3(2) with CLONE_INTO_CGROUP: the new process is in the
    /// group from its first moment on.
    pub fn descriptor(&self) -> Result<Option<OwnedFd>, Error> {
        let Some(member) = self.unified() else { return Ok(None) };
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY);
        let opened = options.open(&member.path);
        let step = || format!("open {}", member.path.display());
        opened.map(|file| Some(file.into())).map_err(|error| Error::at(step())(error))
    }

    /// Files for a process that is to enter the groups of version 1: a `0` written to each moves the
    /// task that writes it.
    ///
    /// A task that moves itself waits for nobody. To move another, or a whole process, the kernel
    /// waits until no process of the host is just being forked or ending, which takes milliseconds.
    pub fn entrances(&self) -> Result<Vec<OwnedFd>, Error> {
        let legacy = self.members.iter().filter(|member| member.version == Version::One);
        let open = |member: &Member| {
            let path = member.path.join(v1::TASKS);
            let opened = OpenOptions::new().write(true).open(&path);
            opened
                .map(OwnedFd::from)
                .map_err(|error| Error::at(format!("open {}", path.display()))(error))
        };
        legacy.map(open).collect()
    }

    /// How many processes were killed for want of memory; `None` where that is not counted.
    pub fn oom_kills(&self) -> Option<u64> {
        let member = self.member_with(Controller::Memory)?;
        match member.version {
            Version::Two => v2::oom_kills(&member.path),
            Version::One => v1::oom_kills(&member.path),
        }
    }

    /// The processes in it, and in groups that they have made below it.
    pub fn processes(&self) -> Result<Vec<Pid>, Error> {
        let mut pids = Vec::new();
        for member in &self.members {
            pids.extend(
                tree::processes(&member.path).map_err(Error::at(format!(
                    "list the processes of {}",
                    member.path.display()
                )))?,
            );
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Kills all processes in it, also stopped ones. They end a moment later; [`Group::remove`] waits
    /// for that.
    pub fn kill_all(&self) -> Result<(), Error> {
        if let Some(member) = self.unified() {
            match files::write(&member.path.join("cgroup.kill"), "1") {
                Ok(()) => return Ok(()),
                // Kernels before 5.14 have no such file; and of a group that was half removed the rest
                // may be left.
                Err(error) if files::is_gone(&error) => {}
                Err(error) => {
                    let step = format!("kill the processes of {}", member.path.display());
                    return Err(Error::at(step)(error));
                }
            }
        }
        // One that is stopped can't start others while it is being looked for.
        let stopped = self.freeze().is_ok();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let living = self.signal_all(Signal::SIGKILL)?;
            if stopped || living == 0 || Instant::now() >= deadline {
                break;
            }
            thread::sleep(PAUSE);
        }
        // What was stopped by others ends only when it goes on.
        match self.thaw() {
            Err(Error::System { source, .. }) if files::is_gone(&source) => Ok(()),
            Err(Error::NoFreezer) => Ok(()),
            other => other,
        }
    }

    /// Sends a signal to each of its processes, and tells how many there were.
    fn signal_all(&self, signal: Signal) -> Result<usize, Error> {
        let held: Vec<_> = self
            .processes()?
            .into_iter()
            .filter_map(|pid| Some((pid, open_pidfd(pid).ok()?)))
            .collect();
        // A process that has ended leaves its number to others, so the list is asked once more: what
        // is held and still on it is one of the group's, or has ended.
        let still = self.processes()?;
        for (pid, pidfd) in &held {
            if still.contains(pid) {
                send_signal(pidfd.as_fd(), signal).map_err(Error::at(format!("signal {pid}")))?;
            }
        }
        Ok(still.len())
    }

    /// Removes it, and the groups that its processes have made below it, when they have all ended.
    ///
    /// # Errors
    /// When processes are still there after some seconds. What is gone already is no error.
    pub fn remove(&self) -> Result<(), Error> {
        self.remove_within(PATIENCE)
    }

    /// The same, for who has less time.
    ///
    /// # Errors
    /// When processes are still there after that.
    pub fn remove_within(&self, patience: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + patience;
        for member in &self.members {
            loop {
                let error = match files::gone(fs::remove_dir(&member.path)) {
                    Ok(()) => break,
                    Err(error) => error,
                };
                let busy = [Errno::EBUSY as i32, Errno::ENOTEMPTY as i32];
                if !error.raw_os_error().is_some_and(|errno| busy.contains(&errno)) {
                    return Err(Error::at(format!("remove {}", member.path.display()))(error));
                }
                if Instant::now() >= deadline {
                    return Err(Error::Slow {
                        path: member.path.clone(),
                        what: "end",
                        seconds: patience.as_secs(),
                    });
                }
                self.make_removable(member, patience).map_err(Error::at(format!(
                    "remove what is below {}",
                    member.path.display()
                )))?;
            }
        }
        Ok(())
    }

    fn make_removable(&self, member: &Member, patience: Duration) -> io::Result<()> {
        if member.version == Version::Two {
            match files::wait_for_event(&member.path, "populated 0", patience) {
                Err(error) if !files::is_gone(&error) => return Err(error),
                _ => {}
            }
        } else {
            thread::sleep(PAUSE);
        }
        tree::remove_below(&member.path)
    }
}
