//! What the kernel offers in a container, and what of it is walled off. The lists are those of the OCI
//! runtime specification (config-linux, Default Filesystems, Devices and symbolic links) and of
//! docker's defaults.

use nix::mount::MsFlags;

use super::step::Step;

/// What is bound from the host: no container can make devices of its own.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// They tell about the host, or reach devices of it.
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// What the host has mounted in its sysfs: its control groups, BPF objects, kernel settings.
const MASKED_OF_HOST: [&str; 5] = [
    "/sys/fs",
    "/sys/kernel/config",
    "/sys/kernel/debug",
    "/sys/kernel/security",
    "/sys/kernel/tracing",
];

/// They change the kernel that all share.
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The file systems, and what is in /dev. `shm_size` is how large /dev/shm may be, in bytes. Who shares
/// the host's network may mount no sysfs, which shows that.
pub(super) fn mounts(shm_size: Option<u64>, shares_network: bool) -> Vec<Step> {
    let strict = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let terminals = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let read_only = strict | MsFlags::MS_RDONLY;
    let mount = |kind: &str, at: &str, flags: MsFlags, options: &str| Step::Mount {
        kind: kind.into(),
        at: at.into(),
        flags: flags.bits(),
        options: options.into(),
    };
    let shm = shm_size.map_or("mode=1777".into(), |size| format!("mode=1777,size={size}"));
    let mut steps = vec![
        mount("proc", "/proc", strict, ""),
        mount("tmpfs", "/dev", MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "mode=0755,size=64k"),
        mount("devpts", "/dev/pts", terminals, "newinstance,mode=0620,ptmxmode=0666"),
        mount("tmpfs", "/dev/shm", strict, &shm),
        mount("mqueue", "/dev/mqueue", strict, ""),
        if shares_network { Step::HostSysfs } else { mount("sysfs", "/sys", read_only, "") },
    ];
    steps.extend(DEVICES.map(|name| Step::Device(name.into())));
    steps.extend(LINKS.map(|(at, to)| Step::Link { at: at.into(), to: to.into() }));
    steps
}

/// What is behind a wall.
pub(super) fn walls(shares_network: bool) -> Vec<Step> {
    let read_only = READ_ONLY.map(|path| Step::ReadOnly(path.into()));
    let masked = MASKED.map(|path| Step::Mask(path.into()));
    let of_host = shares_network.then_some(MASKED_OF_HOST).into_iter().flatten();
    let of_host = of_host.map(|path| Step::Mask(path.into()));
    read_only.into_iter().chain(masked).chain(of_host).collect()
}
