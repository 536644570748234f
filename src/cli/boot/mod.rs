//! `duplex boot`: a guest kernel from the command line.

use std::error::Error;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ArgGroup;
use clap::builder::{OsStringValueParser, TypedValueParser};
use thiserror::Error as ThisError;

use crate::guest_images::{Cache, Series, debian_kernel, demo_initramfs};
use crate::host;
use crate::trace::boot::{Phase, Recorder};
use crate::vm::boot::kernel::{self, Kernel};
use crate::vm::boot::plan::{self, Plan};
use crate::vm::devices::virtio::block::backing;
use crate::vm::gdb::listener::Address;
use crate::vm::memory;
use crate::workload::{Boot, Cmdline, Cpus, Disk, MemorySize, Net, OnReboot, Serial, Vsock};

mod devices;
mod here;
mod in_testbed;

use crate::cli::interface;
use crate::cli::testbed_mode::TestbedMode;
use crate::cli::timing::Unit;
use crate::cli::tracing::TraceArgs;

/// Boot a guest kernel in a VM, with its serial console on this terminal
///
/// The kernel is recognised by its content: an ELF (entered by PVH if it has that note, else by the
/// 64-bit Linux boot protocol), a bzImage, or one of them compressed by gzip, xz, zstd or LZ4.
/// Without --kernel the demo guest boots: Debian's cloud kernel and a busybox that says what it
/// sees; both are downloaded once.
#[derive(clap::Args)]
#[command(group = ArgGroup::new("measured").multiple(true))]
#[command(after_help = "\
On the console: Ctrl-A x ends the guest, Ctrl-A h helps.

Examples:
  duplex boot
  duplex boot --cmdline 'console=ttyS0 quiet duplex.then=shell'
  duplex boot --kernel vmlinux --initrd rootfs.cpio --cpus 2 --memory 512M --timing
  duplex boot --kernel /vmlinuz --initrd /initrd.img --memory 512M --serial console.log
  duplex boot --kernel vmlinux --initrd rootfs.cpio --hvc stdio --serial early.log
  duplex boot --kernel vmlinux --cmdline 'console=ttyS0 root=/dev/vda' --disk root.img,ro
  duplex boot --net user --cmdline 'console=ttyS0 duplex.ip=dhcp duplex.then=shell'
  duplex boot --kernel vmlinux --initrd rootfs.cpio --gdb ./gdb.sock
      and in another terminal: gdb -ex 'target remote ./gdb.sock' -ex 'hbreak start_kernel'
  duplex boot --kernel vmlinux --initrd rootfs.cpio --count-instructions
  duplex boot --trace boot.trace; duplex trace show boot.trace

Exit status: 0 when the guest powers off, halts or resets; 125 when it panics, hits a triple fault
(unless 'reboot=t' stands in --cmdline) or duplex fails; 128+n when signal n ended it.")]
pub(super) struct Args {
    /// The kernel: ELF or bzImage, compressed or not [default: the demo guest's]
    #[arg(long, value_name = "PATH")]
    kernel: Option<PathBuf>,
    /// The initial RAM disk, in any form that the kernel knows
    #[arg(long, value_name = "PATH")]
    initrd: Option<PathBuf>,
    /// The kernel command line [default: 'console=ttyS0 panic=-1', with 'quiet' for the demo guest, and
    /// the consoles that there are]
    #[arg(long, value_name = "STRING", value_parser = OsStringValueParser::new().try_map(Cmdline::try_from))]
    cmdline: Option<Cmdline>,
    /// How many vCPUs: 1 to 32
    #[arg(long, value_name = "N", default_value = "1", allow_negative_numbers = true)]
    cpus: Cpus,
    /// How much memory: in bytes, or with K, M, G or T; at least 32M
    #[arg(long, value_name = "SIZE", default_value = "256M", allow_negative_numbers = true)]
    memory: MemorySize,
    /// A disk: a raw image file or block device, which the guest sees as /dev/vda, vdb and so on.
    /// Options: ro; id=TEXT (its serial number); queues=N (1 to 16); rate=SIZE and iops=N (limits a
    /// second); engine=io_uring|threads. A comma in the path is written twice. Can be given again
    #[arg(
        long = "disk",
        value_name = "PATH[,OPTION]…",
        value_parser = OsStringValueParser::new().try_map(Disk::try_from)
    )]
    disks: Vec<Disk>,
    /// A network interface, which the guest sees as eth0, eth1 and so on: on a tap of this host, or
    /// (user) as this user has the network, by passt. Options: mac=ADDRESS; mtu=N; rate=SIZE and
    /// pps=N (bytes and packets a second, each way); offload=on|off|rx|tx (which packets may have
    /// checksums and segments left open). Can be given again
    #[arg(long = "net", value_name = "tap=NAME|user|none[,OPTION]…")]
    nets: Vec<Net>,
    /// Give the guest a source of entropy
    #[arg(long)]
    rng: bool,
    /// Sockets between guest and host. A program on the host connects to the Unix socket PATH, writes
    /// "CONNECT <port>" and a newline, and reads "OK <its own port>" and a newline; the guest's
    /// connections to port P of the host (CID 2) lead to the Unix socket PATH_P. N is the guest's
    /// address [default: 3]
    #[arg(
        long,
        value_name = "[cid=N,]path=PATH",
        value_parser = OsStringValueParser::new().try_map(Vsock::try_from)
    )]
    vsock: Option<Vsock>,
    /// Where the serial console leads: stdio, off, or a file that its output is written to [default:
    /// stdio, or off if --hvc stdio]
    #[arg(long, value_name = "stdio|off|PATH")]
    serial: Option<Serial>,
    /// Where hvc0 leads, the console that is a virtio device: its output costs an exit a buffer instead
    /// of one a byte, and a terminal's size is the guest's. It is silent until the kernel has its driver
    #[arg(long, value_name = "stdio|off|PATH", default_value = "off")]
    hvc: Serial,
    /// Give memory that the guest frees back to the host, by a balloon device
    #[arg(long)]
    balloon: bool,
    /// Have the guest stand still before its first instruction until GDB connects: at a port of this host's
    /// loopback, or at a Unix socket with a / in its name (mode 0600). See docs/gdb.md
    #[arg(long, value_name = "PORT|PATH")]
    gdb: Option<Address>,
    /// What a reset by the guest does
    #[arg(long, value_enum, value_name = "ACTION", default_value = "exit")]
    on_reboot: OnReboot,
    /// When the guest has ended, say on stderr where the time went
    #[arg(long, group = "measured")]
    timing: bool,
    /// With --timing or --count-instructions: as JSON, a line each
    #[arg(long, requires = "measured")]
    json: bool,
    /// Whether to boot in the testbed, an emulated machine with hardware virtualization: auto does
    /// where this host has none
    #[arg(long, value_enum, value_name = "WHEN", env = "DUPLEX_TESTBED", default_value = "auto")]
    testbed: TestbedMode,
    /// Boot in the testbed whose clock counts instructions, and print the counts: the same on every
    /// run to about 1 %. Implies --timing
    #[arg(long, group = "measured")]
    count_instructions: bool,
    /// What the clock counts: set inside the testbed
    #[arg(long, value_enum, hide = true, default_value = "milliseconds")]
    timing_unit: Unit,
    #[command(flatten)]
    trace: TraceArgs,
}

/// Why a guest could not be booted, with the file that it was about.
#[derive(Debug, ThisError)]
enum BootError {
    #[error("kernel {}: {}", .0.display(), .1)]
    Kernel(PathBuf, #[source] kernel::Error),
    #[error("kernel {}: {}", .0.display(), .1)]
    Misfit(PathBuf, #[source] plan::Misfit),
    #[error(transparent)]
    Plan(plan::Error),
    #[error(transparent)]
    Disk(#[from] backing::Error),
    #[error(
        "{0} {path}: that is the file of the {2}, which the console would overwrite: give another",
        path = .1.display()
    )]
    ConsoleOverwrites(&'static str, PathBuf, &'static str),
    #[error(
        "--serial stdio and --hvc stdio: only one of them can have the terminal: give the other a file, \
         or off"
    )]
    TwoConsoles,
}

/// Runs the command; returns the exit status.
pub(super) fn run(args: &Args, recorder: Recorder) -> Result<ExitCode, Box<dyn Error>> {
    memory::check(args.memory, host::physical_address_bits())?;
    let boot = boot(args)?;
    check_consoles(&boot)?;
    // Whatever is wrong with the files is said here, before any machine starts.
    let plan = plan(&boot)?;
    let disks = devices::open_disks(&boot)?;
    recorder.reached(Phase::Planned);
    if let Some(reason) = args.testbed.reason(args.count_instructions) {
        // The plan holds the files open; the testbed opens them itself.
        drop(plan);
        // The disks stay open, and so locked: locks do not reach from the testbed to this host.
        let _locked = disks;
        return in_testbed::run(args, &boot, &reason);
    }
    here::run(args, &boot, plan, disks, recorder)
}

/// The guest that the arguments ask for.
fn boot(args: &Args) -> Result<Boot, Box<dyn Error>> {
    let (kernel, initrd) = match &args.kernel {
        Some(kernel) => (kernel.clone(), args.initrd.clone()),
        None => demo_guest(args.initrd.clone())?,
    };
    let hvc = args.hvc.clone();
    let serial = args.serial.clone().unwrap_or(match hvc {
        Serial::Stdio => Serial::Off,
        _ => Serial::Stdio,
    });
    let cmdline = match &args.cmdline {
        Some(cmdline) => cmdline.clone(),
        None => default_cmdline(&serial, &hvc, args.kernel.is_none()).parse()?,
    };
    let (cpus, memory, on_reboot) = (args.cpus, args.memory, args.on_reboot);
    let (disks, rng, vsock) = (args.disks.clone(), args.rng, args.vsock.clone());
    let (nets, balloon) = (interface::with_addresses(args.nets.iter()), args.balloon);
    Ok(Boot {
        kernel,
        initrd,
        cmdline,
        cpus,
        memory,
        serial,
        hvc,
        on_reboot,
        disks,
        nets,
        rng,
        vsock,
        balloon,
    })
}

/// The consoles that there are, the last of which is init's, and what a guest does when it crashes.
fn default_cmdline(serial: &Serial, hvc: &Serial, is_demo: bool) -> String {
    let mut words = Vec::new();
    if *serial != Serial::Off {
        words.push("console=ttyS0");
    }
    if *hvc != Serial::Off {
        // First where the person is at the other one.
        words.insert(if *serial == Serial::Stdio { 0 } else { words.len() }, "console=hvc0");
    }
    words.push("panic=-1");
    if is_demo && words.len() > 1 {
        words.push("quiet");
    }
    words.join(" ")
}

/// Refuses to write a console over the files that the guest is made of, and two of them into one place.
fn check_consoles(boot: &Boot) -> Result<(), BootError> {
    if boot.serial == Serial::Stdio && boot.hvc == Serial::Stdio {
        return Err(BootError::TwoConsoles);
    }
    let inode = |path: &Path| path.metadata().ok().map(|file| (file.dev(), file.ino()));
    for (option, console, other) in
        [("--serial", &boot.serial, None), ("--hvc", &boot.hvc, Some(&boot.serial))]
    {
        let Serial::Path(path) = console else { continue };
        // Two names of one file are found when it is there already.
        let place = inode(path);
        let is_at = |file: &Path| path == file || place.is_some() && inode(file) == place;
        let victim = if boot.disks.iter().any(|disk| is_at(&disk.path)) {
            "disk"
        } else if is_at(&boot.kernel) {
            "kernel"
        } else if boot.initrd.as_deref().is_some_and(is_at) {
            "initrd"
        } else if matches!(other, Some(Serial::Path(serial)) if is_at(serial)) {
            "serial console"
        } else {
            continue;
        };
        return Err(BootError::ConsoleOverwrites(option, path.clone(), victim));
    }
    Ok(())
}

/// The demo guest's kernel, and its initrd unless another was given.
fn demo_guest(initrd: Option<PathBuf>) -> Result<(PathBuf, Option<PathBuf>), Box<dyn Error>> {
    let cache = Cache::open()?;
    let kernel = debian_kernel(&cache, Series::V6_1)?;
    let initrd = match initrd {
        Some(initrd) => initrd,
        None => demo_initramfs(&cache, &kernel)?,
    };
    Ok((kernel.elf, Some(initrd)))
}

/// Opens and checks the files and decides where everything goes.
fn plan(boot: &Boot) -> Result<Plan, BootError> {
    let kernel = Kernel::open(&boot.kernel)
        .map_err(|error| BootError::Kernel(boot.kernel.clone(), error))?;
    let cmdline = boot.cmdline.clone();
    let virtio = devices::count(boot);
    Plan::new(kernel, boot.initrd.as_deref(), cmdline, boot.memory, virtio).map_err(|error| {
        match error {
            plan::Error::Kernel(misfit) => BootError::Misfit(boot.kernel.clone(), misfit),
            other => BootError::Plan(other),
        }
    })
}
