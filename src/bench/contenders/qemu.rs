//! QEMU: its machine for small guests, and its usual one.

use super::called::Called;
use super::program::Program;
use super::vmm::{Vm, guest_of};
use super::{Found, describe};
use crate::bench::results::Wall;
use crate::bench::workshop::Workshop;

/// The devices that the tuned kernel uses, and no option ROMs.
const MICROVM: &str = "microvm,x-option-roms=off,pit=on,pic=on,rtc=on,isa-serial=on";

pub(super) fn microvm(workshop: &Workshop) -> Found {
    find("qemu-microvm", "QEMU, microvm", MICROVM, workshop)
}

pub(super) fn q35(workshop: &Workshop) -> Found {
    find("qemu-q35", "QEMU, q35", "q35", workshop)
}

fn find(id: &str, name: &str, machine: &'static str, workshop: &Workshop) -> Found {
    let mut described = describe(id, name, Wall::Vm);
    let package = "Debian's package qemu-system-x86";
    let program = Program::find("qemu-system-x86_64", package, &mut described)?;
    let guest = guest_of(workshop, &described)?;
    described.version = program.version(&["--version"]);
    let files = program.files().into_iter().chain([guest.kernel.clone(), guest.initramfs.clone()]);
    Called::new(described, files.collect(), move |job, _| {
        let vm = Vm::of(job)?;
        let mut command = program.command();
        command.args(["-M", machine, "-enable-kvm", "-cpu", "host"]);
        command.args(["-m", &vm.mebibytes().to_string(), "-smp", &vm.cpus.to_string()]);
        command.args(["-nodefaults", "-no-user-config", "-nographic", "-serial", "stdio"]);
        command.arg("-no-reboot").arg("-kernel").arg(&guest.kernel);
        command.arg("-initrd").arg(&guest.initramfs);
        command.arg("-append").arg(guest.cmdline(&job.argv, &vm.settings("t"))?);
        Ok(command)
    })
    .found()
}
