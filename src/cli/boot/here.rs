//! Boots on this host's KVM.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::{Args, devices};
use crate::cli::tracing::{TraceOrder, Tracing, command_line};
use crate::cli::{FAILED, debugger, say, timing};
use crate::trace::boot::Recorder;
use crate::trace::file::about::{About, Half};
use crate::vm::boot::plan::Plan;
use crate::vm::console::Console;
use crate::vm::devices::virtio::block::backing::Backing;
use crate::vm::end::End;
use crate::vm::gdb::View;
use crate::vm::kvm;
use crate::vm::machine::Machine;
use crate::vm::session::{self, Signals};
use crate::workload::{Boot, OnReboot};

/// Boots the guest, again and again if it resets and that is asked for; returns the exit status.
pub(super) fn run(
    args: &Args,
    boot: &Boot,
    mut plan: Plan,
    mut disks: Vec<Backing>,
    recorder: Recorder,
) -> Result<ExitCode, Box<dyn Error>> {
    let recorder = Arc::new(recorder);
    // Before any thread is started: the signals stay blocked in all of them.
    let signals = Signals::take()?;
    let tracing = args.trace.order()?;
    let tracing = tracing.map(|order| trace(&order, args, boot, &recorder)).transpose()?;
    let mut console = Console::open(&boot.serial, &boot.hvc)?;
    // Kept from one start to the next: programs on the host may connect at any moment.
    let vsock = devices::open_vsock(boot)?;
    let outcome = loop {
        let device = Path::new(kvm::DEVICE);
        let serial = console.serial();
        let virtio = devices::build(boot, &plan, disks, vsock.as_ref(), console.hvc())?;
        let mut machine =
            Machine::build(device, &plan, boot.cpus, virtio, serial, recorder.clone())?;
        if let Some(address) = &args.gdb {
            debugger::attach(&mut machine, address, Some(&boot.kernel), View::Long)?;
        }
        let outcome = session::run(machine, &mut console, &signals, &recorder)?;
        if !resets(&outcome.end, boot) || boot.on_reboot == OnReboot::Exit {
            break outcome;
        }
        plan = super::plan(boot)?;
        disks = devices::open_disks(boot)?;
    };
    session::finish(&console, &signals, &outcome.end);
    // Messages come after the guest's last line, on a terminal that is the caller's again.
    drop(console);
    let status = conclude(&outcome.end, boot);
    if let Some(tracing) = tracing {
        tracing.conclude(&recorder, true);
    }
    if args.timing {
        timing::print(&recorder, &outcome.figures, args.timing_unit, args.json)?;
    }
    Ok(status.into())
}

/// Begins a trace.
fn trace(
    order: &TraceOrder,
    args: &Args,
    boot: &Boot,
    recorder: &Recorder,
) -> Result<Tracing, Box<dyn Error>> {
    let about = About {
        command: command_line(["duplex".into()].into_iter().chain(std::env::args_os().skip(1))),
        kernel: Some(boot.kernel.to_string_lossy().into_owned()),
        cmdline: Some(boot.cmdline.as_os_str().to_string_lossy().into_owned()),
        ..About::default()
    };
    let tracing = Tracing::begin(order, Half::Vm, args.timing_unit, recorder, about)?;
    tracing.record(recorder)?;
    Ok(tracing)
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
            say(end);
            FAILED
        }
    }
}
