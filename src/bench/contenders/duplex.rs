//! duplex's own halves, and its VM as others' are started.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::called::{Called, refuse};
use super::program::missing;
use super::vmm::{Vm, guest_of};
use super::{Found, describe, dockers_words};
use crate::bench::contender::Job;
use crate::bench::results::{Contender as Described, Wall};
use crate::bench::workshop::Workshop;
use crate::guest_images::Cache;
use crate::image;
use crate::state::INSTANCE;

/// `duplex run --container`.
pub(super) fn container(workshop: &Workshop) -> Found {
    let described = describe("duplex-container", "duplex, container", Wall::Container);
    run(described, &["--container"], workshop)
}

/// `duplex run --vm`: the image as a disk, the session over vsock.
pub(super) fn vm(workshop: &Workshop) -> Found {
    let described = describe("duplex-vm", "duplex, VM", Wall::Vm);
    if workshop.guest.is_none() {
        return Err(missing(
            &described,
            "there is no tuned kernel: `make tuned-kernel` builds it".into(),
        ));
    }
    run(described, &["--vm", "--testbed", "never"], workshop)
}

/// `duplex boot`: the kernel, the initramfs and the serial port that the other VMMs have.
pub(super) fn boot(workshop: &Workshop) -> Found {
    let mut described = describe("duplex-boot", "duplex boot", Wall::Vm);
    let guest = guest_of(workshop, &described)?;
    described.version = Some(version());
    let program = workshop.duplex.clone();
    let files = vec![program.clone(), guest.kernel.clone(), guest.initramfs.clone()];
    Called::new(described, files, move |job, _| {
        let vm = Vm::of(job)?;
        let mut command = Command::new(&program);
        command.args(["boot", "--testbed", "never", "--kernel"]).arg(&guest.kernel);
        command.arg("--initrd").arg(&guest.initramfs);
        command.args(["--cpus", &vm.cpus.to_string(), "--memory", &vm.memory.to_string()]);
        command.arg("--cmdline").arg(guest.cmdline(&job.argv, &vm.settings("t"))?);
        command.stdin(Stdio::null());
        Ok(command)
    })
    .found()
}

fn version() -> String {
    format!("duplex {}", env!("CARGO_PKG_VERSION"))
}

fn run(mut described: Described, half: &'static [&'static str], workshop: &Workshop) -> Found {
    described.version = Some(version());
    let (workshop, is_vm) = (workshop.clone(), described.wall == Wall::Vm);
    let files = files(&workshop, is_vm);
    let of = workshop.clone();
    Called::new(described, files, move |job, number| {
        let mut command = Command::new(&workshop.duplex);
        command.arg("run").args(half).args(["--name", &workshop.name(number)]);
        command.env("XDG_RUNTIME_DIR", workshop.directory("state")?).stdin(Stdio::null());
        refuse(is_vm && job.serial_console, "serial console to look at")?;
        // A machine has a size, limited or not.
        dockers_words::limits(job, job.unlimited && !is_vm, &mut command);
        dockers_words::input_and_volume(job, &mut command);
        if job.net {
            command.args(["--net", &network(job, is_vm)]);
        }
        if let Some(layer) = &job.layer {
            command.arg("--keep").arg(layer);
        }
        if job.timing {
            command.args(["--timing", "--json"]);
        }
        command.arg("--").arg(&workshop.image).args(&job.argv);
        Ok(command)
    })
    .cleaned(move |number| remove_what_was_cut_off(&of, number))
    .found()
}

/// What a killed start has left, its control group for one, any later command of duplex's removes that has the same
/// state; there may be none before that goes.
fn remove_what_was_cut_off(workshop: &Workshop, number: u64) {
    let state = workshop.place.join("state");
    if state.join("duplex").join(format!("{INSTANCE}{}", workshop.name(number))).exists() {
        let mut command = Command::new(&workshop.duplex);
        command.arg("ps").env("XDG_RUNTIME_DIR", state).stdin(Stdio::null());
        let _ = command.output();
    }
}

/// The program; for a VM also its kernel, and the disks of the image and of its init, in the cache.
fn files(workshop: &Workshop, is_vm: bool) -> Vec<PathBuf> {
    let mut files = vec![workshop.duplex.clone()];
    if is_vm && let Ok(cache) = Cache::open() {
        // One that cannot be made now is told about by the start that needs it.
        files.extend(image::disk(&cache, &workshop.image));
        if let Ok(kernel) = image::run_kernel(&cache, false) {
            files.extend([kernel.init.path().to_owned(), kernel.elf]);
        }
    }
    files
}

/// As `--net` has it.
fn network(job: &Job, is_vm: bool) -> String {
    match &job.bridge {
        Some(bridge) if is_vm => format!("tap={bridge}p0"),
        Some(bridge) => format!("bridge={bridge}"),
        None => "user".into(),
    }
}
