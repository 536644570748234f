//! Decides what a VM is to be.

use std::error::Error;

use super::order::{Subject, VmOrder};
use super::{Args, layer, network, volumes};
use crate::cli::timing::Unit;
use crate::cli::{interface, say};
use crate::guest_images::Cache;
use crate::host;
use crate::image::{self, Init, run_kernel};
use crate::init::{Layer, Setting};
use crate::vm::memory;
use crate::workload::NetBackend;

/// Decides everything. Whatever is wrong with what was asked for is said here, before any machine
/// starts.
pub(super) fn decide(args: &Args, mut subject: Subject) -> Result<VmOrder, Box<dyn Error>> {
    refuse(args)?;
    let by_passt =
        args.network.nets.iter().filter(|net| net.net.backend == NetBackend::User).count();
    let limits = args.limits.of_vm(args.volume.len() + by_passt)?;
    memory::check(limits.memory, host::physical_address_bits())?;
    let reason = args.testbed.reason(args.count_instructions);
    let (nets, network) = network::vm::decide(&args.network)?;
    if let (Some(reason), Some(net)) = (&reason, nets.first()) {
        // Without one the guest would ask for an address, which nobody there has to give.
        let address = "ip addr add 10.9.8.1/24 dev tap0; ";
        let command = "duplex run --net tap=tap0,ip=10.9.8.2/24";
        return Err(interface::none_in_testbed(net, reason, address, command).into());
    }
    let cache = Cache::open()?;
    let (volumes, seen) = volumes::decide(&args.volume)?;
    let disk = image::disk(&cache, &subject.image)?;
    let layer = args.keep.as_deref().map(layer::file).transpose()?;
    let kernel = run_kernel(&cache, !volumes.is_empty())?;
    if matches!(kernel.init, Init::Initramfs(_)) {
        say(
            "there is no tuned kernel (`make tuned-kernel` builds it): Debian's boots, which takes \
             longer",
        );
    }
    if let Some(reason) = &reason {
        say(format_args!("running in the testbed ({reason})"));
    }
    subject.about.testbed = reason.is_some();
    subject.start.setting = Some(Setting {
        hostname: subject.about.name.clone(),
        layer: if layer.is_some() { Layer::Disk } else { Layer::Memory },
        volumes: seen,
        tmpfs: args.mounts.tmpfs.clone(),
        shm_size: args.mounts.shm_size,
        read_only: args.mounts.read_only,
        network,
        tasks: limits.tasks,
        ulimits: args.limits.ulimit.clone(),
    });
    Ok(VmOrder {
        subject,
        kernel: kernel.elf,
        init: kernel.init,
        disk,
        layer,
        volumes,
        nets,
        published: args.network.publish.clone(),
        cpus: limits.cpus,
        memory: limits.memory,
        limits: limits.group,
        cgroup_parent: args.limits.parent(),
        oom_score: args.limits.oom_score_adj,
        timing: args.timing || args.count_instructions,
        unit: if args.count_instructions { Unit::Instructions } else { Unit::Milliseconds },
        json: args.json,
        trace: args.trace.order()?,
    })
}

/// What a VM cannot have.
fn refuse(args: &Args) -> Result<(), &'static str> {
    let asked = [
        (args.explain, "--explain: it tells about containers: add --container"),
        (args.until.is_some(), "--until: it stops a container on its way: add --container"),
        (
            args.trace_syscalls,
            "--trace-syscalls: a VM's are dealt with by its own kernel: add --container",
        ),
        (
            !(args.cap_add.is_empty() && args.cap_drop.is_empty()),
            "--cap-add and --cap-drop: a VM's root has all of its own kernel's: add --container",
        ),
        (
            args.security.is_given(),
            "--security-opt, --userns and --cgroupns: a VM has none of these walls, for it shares no \
             kernel: add --container",
        ),
    ];
    asked.into_iter().find(|(asked, _)| *asked).map_or(Ok(()), |(_, reason)| Err(reason))
}
