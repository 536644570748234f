//! What virtual machine monitors have in common: the guest that they boot, and its size.

use super::called::refuse;
use super::program::missing;
use crate::bench::contender::Job;
use crate::bench::guest::Settings;
use crate::bench::results::Contender as Described;
use crate::bench::workshop::{Guest, Workshop};

/// A machine has so much memory where the job does not say.
const MEMORY: u64 = 128 << 20;

/// A machine for a job.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vm {
    pub(super) cpus: u32,
    /// In bytes.
    pub(super) memory: u64,
    serial_console: bool,
}

impl Vm {
    /// As large as the job asks for; with one processor where it does not say.
    ///
    /// # Errors
    /// The job asks for what a machine with a serial port and nothing else does not have.
    pub(super) fn of(job: &Job) -> Result<Self, String> {
        refuse(
            job.data.is_some(),
            "directory of the host to show: its guest has no device for that",
        )?;
        refuse(job.net, "network here: its guest has no device for that")?;
        Ok(Self {
            cpus: whole(job.cpus.unwrap_or(1.0)),
            memory: job.memory.unwrap_or(MEMORY),
            serial_console: job.serial_console,
        })
    }

    /// Its memory in MiB.
    pub(super) fn mebibytes(&self) -> u64 {
        self.memory >> 20
    }

    /// How its kernel speaks, and ends the machine.
    pub(super) fn settings(&self, reboot: &'static str) -> Settings {
        Settings { serial_console: self.serial_console, reboot, power_off: None }
    }
}

/// As many processors as so much time of them takes.
fn whole(cpus: f64) -> u32 {
    (1..32).find(|whole| f64::from(*whole) >= cpus).unwrap_or(32)
}

/// The guest, or why there is none.
pub(super) fn guest_of(workshop: &Workshop, described: &Described) -> Result<Guest, Described> {
    workshop.guest.clone().ok_or_else(|| {
        missing(described, "there is no tuned kernel: `make tuned-kernel` builds it".into())
    })
}
