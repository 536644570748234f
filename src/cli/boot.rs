//! `duplex boot`: a guest kernel from the command line.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use thiserror::Error as ThisError;

use super::timing;
use crate::trace::boot::{Phase, Recorder};
use crate::vm::boot::kernel::{self, Kernel};
use crate::vm::boot::plan::{self, Plan};
use crate::vm::console::Console;
use crate::vm::end::End;
use crate::vm::kvm;
use crate::vm::machine::Machine;
use crate::vm::session::{self, Outcome, Signals};
use crate::workload::{Boot, Cmdline, Cpus, MemorySize, OnReboot, Serial};

/// Boot a guest kernel in a VM, with its serial console on this terminal
///
/// The kernel is recognised by its content: an ELF (entered by PVH if it has that note, else by the
/// 64-bit Linux boot protocol), a bzImage, or one of them compressed by gzip, xz, zstd or LZ4.
#[derive(clap::Args)]
#[command(after_help = "\
On the console: Ctrl-A x ends the guest, Ctrl-A h helps.

Examples:
  duplex boot --kernel /boot/vmlinuz-6.1.0-56-cloud-amd64 --initrd /boot/initrd.img-6.1.0-56-cloud-amd64
  duplex boot --kernel vmlinux --initrd rootfs.cpio --cmdline 'console=ttyS0 quiet' --timing
  duplex boot --kernel bzImage --serial console.log --on-reboot restart

Exit status: 0 when the guest powers off, halts or resets; 125 when it panics, hits a triple fault
(unless 'reboot=t' stands in --cmdline) or duplex fails; 128+n when signal n ended it.")]
pub(super) struct Args {
    /// The kernel: ELF or bzImage, compressed or not
    #[arg(long, value_name = "PATH")]
    kernel: PathBuf,
    /// The initial RAM disk, in any form that the kernel knows
    #[arg(long, value_name = "PATH")]
    initrd: Option<PathBuf>,
    /// The kernel command line [default: 'console=ttyS0 panic=-1', without the console if
    /// --serial off]
    #[arg(long, value_name = "STRING")]
    cmdline: Option<Cmdline>,
    /// How many vCPUs: 1 to 32
    #[arg(long, value_name = "N", default_value = "1")]
    cpus: Cpus,
    /// How much memory: a number with K, M, G or T; at least 32M
    #[arg(long, value_name = "SIZE", default_value = "256M")]
    memory: MemorySize,
    /// Where the serial console leads: stdio, off, or a file that its output is written to
    #[arg(long, value_name = "stdio|off|PATH", default_value = "stdio")]
    serial: Serial,
    /// What a reset by the guest does
    #[arg(long, value_enum, value_name = "ACTION", default_value = "exit")]
    on_reboot: OnReboot,
    /// When the guest has ended, say on stderr where the time went
    #[arg(long)]
    timing: bool,
    /// With --timing: as JSON
    #[arg(long, requires = "timing")]
    json: bool,
}

/// Why a guest could not be booted, with the file that it was about.
#[derive(Debug, ThisError)]
enum BootError {
    #[error("kernel {}: {}", .0.display(), .1)]
    Kernel(PathBuf, #[source] kernel::Error),
    #[error("{0}")]
    Plan(#[source] plan::Error),
    #[error("initrd {}: {}", .0.display(), .1)]
    Initrd(PathBuf, #[source] plan::Error),
}

/// Runs the command; returns the exit status.
pub(super) fn run(args: &Args, recorder: Recorder) -> Result<ExitCode, Box<dyn Error>> {
    let boot = boot(args)?;
    let recorder = Arc::new(recorder);
    let plan = plan(&boot)?;
    recorder.reached(Phase::Planned);
    let (outcome, status) = run_here(&boot, plan, &recorder)?;
    if args.timing {
        timing::print(&recorder, &outcome, args.json)?;
    }
    Ok(status.into())
}

/// The guest that the arguments ask for.
fn boot(args: &Args) -> Result<Boot, Box<dyn Error>> {
    let cmdline = match &args.cmdline {
        Some(cmdline) => cmdline.clone(),
        None if args.serial == Serial::Off => "panic=-1".parse()?,
        None => "console=ttyS0 panic=-1".parse()?,
    };
    Ok(Boot {
        kernel: args.kernel.clone(),
        initrd: args.initrd.clone(),
        cmdline,
        cpus: args.cpus,
        memory: args.memory,
        serial: args.serial.clone(),
        on_reboot: args.on_reboot,
    })
}

/// Opens and checks the files and decides where everything goes.
fn plan(boot: &Boot) -> Result<Plan, BootError> {
    let kernel = Kernel::open(&boot.kernel)
        .map_err(|error| BootError::Kernel(boot.kernel.clone(), error))?;
    Plan::new(kernel, boot.initrd.as_deref(), boot.cmdline.clone(), boot.memory).map_err(|error| {
        match &boot.initrd {
            Some(path) if error.is_about_initrd() => BootError::Initrd(path.clone(), error),
            _ => BootError::Plan(error),
        }
    })
}

/// Boots the guest on this host's KVM, again and again if it resets and that is asked for.
fn run_here(
    boot: &Boot,
    mut plan: Plan,
    recorder: &Arc<Recorder>,
) -> Result<(Outcome, u8), Box<dyn Error>> {
    // Before any thread is started: the signals stay blocked in all of them.
    let signals = Signals::take()?;
    let mut console = Console::open(&boot.serial)?;
    loop {
        let device = Path::new(kvm::DEVICE);
        let output = console.output();
        let machine = Machine::build(device, &plan, boot.cpus, output, recorder.clone())?;
        let outcome = session::run(machine, &mut console, &signals, recorder)?;
        if resets(&outcome.end, boot) && boot.on_reboot == OnReboot::Restart {
            plan = self::plan(boot)?;
            continue;
        }
        session::finish(&console, &signals, &outcome.end);
        // Messages come after the guest's last line, on a terminal that is the caller's again.
        drop(console);
        let status = conclude(&outcome.end, boot);
        return Ok((outcome, status));
    }
}

fn resets(end: &End, boot: &Boot) -> bool {
    match end {
        End::Reset => true,
        End::TripleFault(_) => boot.cmdline.resets_by_triple_fault(),
        _ => false,
    }
}

/// Says what must be said about an end; returns the exit status.
fn conclude(end: &End, boot: &Boot) -> u8 {
    match end {
        End::PowerOff | End::Halted | End::Reset | End::Quit => 0,
        End::TripleFault(_) if resets(end, boot) => 0,
        End::Signal(number) => 128_u8.saturating_add(u8::try_from(*number).unwrap_or(0)),
        End::TripleFault(_) | End::KvmError(_) | End::GuestPanic | End::Failed(_) => {
            eprintln!("duplex: {end}");
            super::FAILED
        }
    }
}
