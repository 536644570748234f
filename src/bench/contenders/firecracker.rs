//! Firecracker, without its API: a file says what the machine is.

use serde_json::json;

use super::called::Called;
use super::program::Program;
use super::vmm::{Vm, guest_of};
use super::{Found, describe};
use crate::bench::results::Wall;
use crate::bench::workshop::{Workshop, write};

pub(super) fn find(workshop: &Workshop) -> Found {
    let mut described = describe("firecracker", "Firecracker", Wall::Vm);
    let package = "a release of github.com/firecracker-microvm/firecracker, on PATH,";
    let program = Program::find("firecracker", package, &mut described)?;
    let guest = guest_of(workshop, &described)?;
    described.version = program.version(&["--version"]);
    let workshop = workshop.clone();
    let files = program.files().into_iter().chain([guest.kernel.clone(), guest.initramfs.clone()]);
    Called::new(described, files.collect(), move |job, _| {
        let vm = Vm::of(job)?;
        let machine = json!({
            "boot-source": {
                "kernel_image_path": guest.kernel,
                "initrd_path": guest.initramfs,
                // Its guests reset by the keyboard controller.
                "boot_args": guest.cmdline(&job.argv, &vm.settings("k"))?,
            },
            "drives": [],
            "machine-config": { "vcpu_count": vm.cpus, "mem_size_mib": vm.mebibytes() },
        });
        let config = workshop.directory("firecracker")?.join("machine.json");
        write(&config, machine.to_string().as_bytes(), 0o600)?;
        let mut command = program.command();
        command.args(["--no-api", "--level", "Error", "--config-file"]).arg(config);
        Ok(command)
    })
    .found()
}
