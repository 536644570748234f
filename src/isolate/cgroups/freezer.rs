//! Stopping all processes of a group, and letting them go on.

use std::thread;
use std::time::{Duration, Instant};

use super::controller::Controller;
use super::error::Error;
use super::files;
use super::group::{Group, Member};

/// A process that does not stop is in the kernel, waiting for a disk.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long programs take that stop.
const LEAST_PATIENCE: Duration = Duration::from_millis(100);
/// Version 1 has no event to wait for.
const PAUSE: Duration = Duration::from_millis(1);
const STATE: &str = "freezer.state";

impl Group {
    /// Stops all processes, and waits until they have stopped.
    ///
    /// # Errors
    /// When one has not after some seconds: then none stays stopped.
    pub fn freeze(&self) -> Result<(), Error> {
        let member = self.freezer()?;
        let stopped = match member.version {
            super::Version::Two => {
                self.set(member, "cgroup.freeze", "1")?;
                files::wait_for_event(&member.path, "frozen 1", PATIENCE)
                    .map_err(Error::at(format!("wait for {} to stop", member.path.display())))?
            }
            super::Version::One => self.freeze_legacy(member)?,
        };
        if stopped {
            return Ok(());
        }
        self.thaw()?;
        Err(Error::Slow { path: member.path.clone(), what: "stop", seconds: PATIENCE.as_secs() })
    }

    /// Stops all programs, and does not ask for more. In version 2 a group says that it has stopped only if
    /// no thread of the kernel is in it; but KVM puts one into the group of each VMM
    /// (kvm-nx-lpage-recovery, before Linux 6.13). Programs stop all the same, at once.
    pub fn freeze_programs(&self) -> Result<(), Error> {
        let member = self.freezer()?;
        match member.version {
            super::Version::Two => {
                self.set(member, "cgroup.freeze", "1")?;
                let told = files::wait_for_event(&member.path, "frozen 1", LEAST_PATIENCE);
                told.map(drop)
                    .map_err(Error::at(format!("wait for {} to stop", member.path.display())))
            }
            super::Version::One => self.freeze(),
        }
    }

    /// Lets all processes go on.
    pub fn thaw(&self) -> Result<(), Error> {
        let member = self.freezer()?;
        match member.version {
            super::Version::Two => self.set(member, "cgroup.freeze", "0"),
            super::Version::One => self.set(member, STATE, "THAWED"),
        }
    }

    /// Whether all its processes are to be stopped.
    pub fn is_frozen(&self) -> bool {
        let Ok(member) = self.freezer() else { return false };
        let (file, going) = match member.version {
            super::Version::Two => ("cgroup.freeze", "0"),
            super::Version::One => (STATE, "THAWED"),
        };
        files::read(&member.path.join(file)).is_some_and(|text| text.trim() != going)
    }

    /// The state is asked for until it is reached: a process that was being forked is seen then, and
    /// writing it once more catches that one too, Documentation/admin-guide/cgroup-v1/
    /// freezer-subsystem.rst.
    fn freeze_legacy(&self, member: &Member) -> Result<bool, Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.set(member, STATE, "FROZEN")?;
            let state = files::read(&member.path.join(STATE)).unwrap_or_default();
            if state.trim() == "FROZEN" {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            thread::sleep(PAUSE);
        }
    }

    fn freezer(&self) -> Result<&Member, Error> {
        self.unified().or_else(|| self.member_with(Controller::Freezer)).ok_or(Error::NoFreezer)
    }

    #[expect(clippy::unused_self, reason = "reads as what it is done to")]
    fn set(&self, member: &Member, file: &str, value: &str) -> Result<(), Error> {
        let file = member.path.join(file);
        files::write(&file, value)
            .map_err(|error| Error::at(format!("write {value} to {}", file.display()))(error))
    }
}
