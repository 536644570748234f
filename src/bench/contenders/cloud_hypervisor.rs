//! Cloud Hypervisor.

use super::called::Called;
use super::program::Program;
use super::vmm::{Vm, guest_of};
use super::{Found, describe};
use crate::bench::guest::Settings;
use crate::bench::results::Wall;
use crate::bench::workshop::Workshop;

/// A reset boots the guest anew there; this switches the machine off: its ACPI sleep register, and the value
/// for S5.
const POWER_OFF: &str = "1536=52";

pub(super) fn find(workshop: &Workshop) -> Found {
    let mut described = describe("cloud-hypervisor", "Cloud Hypervisor", Wall::Vm);
    let package = "a release of github.com/cloud-hypervisor/cloud-hypervisor, on PATH,";
    let program = Program::find("cloud-hypervisor", package, &mut described)?;
    let guest = guest_of(workshop, &described)?;
    described.version = program.version(&["--version"]);
    let files = program.files().into_iter().chain([guest.kernel.clone(), guest.initramfs.clone()]);
    Called::new(described, files.collect(), move |job, _| {
        let vm = Vm::of(job)?;
        let settings = Settings { power_off: Some(POWER_OFF), ..vm.settings("t") };
        let mut command = program.command();
        command.arg("--kernel").arg(&guest.kernel).arg("--initramfs").arg(&guest.initramfs);
        command.arg("--cmdline").arg(guest.cmdline(&job.argv, &settings)?);
        command.args(["--serial", "tty", "--console", "off"]);
        command.arg("--cpus").arg(format!("boot={}", vm.cpus));
        command.arg("--memory").arg(format!("size={}", vm.memory));
        Ok(command)
    })
    .found()
}
