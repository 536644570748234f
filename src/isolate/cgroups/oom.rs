//! Hearing of processes that are killed because their group has no more memory.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::poll::PollFlags;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::controller::Controller;
use super::error::Error;
use super::files;
use super::group::{Group, Version};
use super::{v1, v2};

/// Something to wait for: that memory has run out.
#[derive(Debug)]
pub struct OomWatch {
    descriptor: OwnedFd,
    version: Version,
    group: PathBuf,
}

impl Group {
    /// Watches for processes that are killed for want of memory.
    ///
    /// # Errors
    /// [`Error::NotInGroup`] for a group without the memory controller.
    pub fn watch_oom(&self) -> Result<OomWatch, Error> {
        let memory = Controller::Memory;
        let member = self.member_with(memory).ok_or(Error::NotInGroup(memory))?;
        let group = member.path.clone();
        let failed = || Error::at(format!("watch the memory of {}", member.path.display()));
        let descriptor = match member.version {
            Version::Two => File::open(group.join("memory.events")).map_err(failed())?.into(),
            Version::One => {
                let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
                let event = EventFd::from_flags(flags).map_err(|errno| failed()(errno.into()))?;
                let watched = File::open(group.join("memory.oom_control")).map_err(failed())?;
                let line = format!("{} {}", event.as_raw_fd(), watched.as_raw_fd());
                files::write(&group.join("cgroup.event_control"), &line).map_err(failed())?;
                event.into()
            }
        };
        let watch = OomWatch { descriptor, version: member.version, group };
        // A file of version 2 tells of changes since it was last read.
        watch.kills();
        Ok(watch)
    }

    /// How many processes were killed for want of memory; `None` where that is not counted.
    pub fn oom_kills(&self) -> Option<u64> {
        let member = self.member_with(Controller::Memory)?;
        match member.version {
            Version::Two => v2::oom_kills(&member.path),
            Version::One => v1::oom_kills(&member.path),
        }
    }
}

impl OomWatch {
    /// What to poll [`AsFd::as_fd`] for.
    pub fn poll_flags(&self) -> PollFlags {
        match self.version {
            Version::Two => PollFlags::POLLPRI,
            Version::One => PollFlags::POLLIN,
        }
    }

    /// How many have been killed until now, to be asked after each event. In version 1 an event comes
    /// before the kill, and when the group is removed.
    pub fn kills(&self) -> Option<u64> {
        match self.version {
            Version::Two => {
                let mut text = [0; 4096];
                let length = nix::sys::uio::pread(&self.descriptor, &mut text, 0).ok()?;
                files::value(std::str::from_utf8(text.get(..length)?).ok()?, "oom_kill")
            }
            Version::One => {
                // How often does not matter; that it has been seen does.
                let _ = nix::unistd::read(&self.descriptor, &mut [0; 8]);
                v1::oom_kills(&self.group)
            }
        }
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
