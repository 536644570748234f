//! A VM as it is when nobody has tuned anything: a distribution's kernel.

use std::process::{Command, Stdio};

use crate::bench::contender::{Contender, Job};
use crate::bench::guest::Settings;
use crate::bench::results::{Contender as Described, Wall};
use crate::bench::workshop::{Guest, Workshop};
use crate::guest_images::{Cache, Series, debian_kernel};

/// What tables call it.
pub(super) const ID: &str = "debian-vm";

/// `duplex boot` with Debian's kernel and the initramfs that the tuned one gets.
pub(super) struct ColdVm {
    described: Described,
    workshop: Workshop,
    guest: Guest,
}

impl ColdVm {
    pub(super) fn find(workshop: &Workshop) -> Result<Self, String> {
        let tuned = workshop
            .guest
            .clone()
            .ok_or("there is no initramfs for it: it wants the tuned kernel, too")?;
        let cache = Cache::open().map_err(|error| error.to_string())?;
        let kernel = debian_kernel(&cache, Series::V6_1).map_err(|error| error.to_string())?;
        let described = Described {
            id: ID.into(),
            name: "duplex boot, Debian's kernel".into(),
            wall: Wall::Vm,
            version: Some(kernel.release),
            missing: None,
        };
        let guest = Guest { kernel: kernel.elf, ..tuned };
        Ok(Self { described, workshop: workshop.clone(), guest })
    }
}

impl Contender for ColdVm {
    fn described(&self) -> &Described {
        &self.described
    }

    fn command(&self, job: &Job, _number: u64) -> Result<Command, String> {
        let settings = Settings { serial_console: false, reboot: "t", power_off: None };
        let memory = job.memory.ok_or("a VM has to have memory")?;
        let mut command = Command::new(&self.workshop.duplex);
        command.args(["boot", "--testbed", "never", "--memory", &memory.to_string(), "--kernel"]);
        command.arg(&self.guest.kernel).arg("--initrd").arg(&self.guest.initramfs);
        command.arg("--cmdline").arg(self.guest.cmdline(&job.argv, &settings)?);
        command.stdin(Stdio::null());
        Ok(command)
    }
}
