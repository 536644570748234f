//! Boots in the testbed: the same command, on an emulated machine that has hardware virtualization.

use std::error::Error;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use super::Args;
use crate::cli::tracing::TraceOrder;
use crate::cli::{debugger, interface, say, session, timing};
use crate::testbed::{self, Machine};
use crate::workload::{Boot, OnReboot, Serial};

/// Runs the same boot in the testbed; returns its exit status.
pub(super) fn run(args: &Args, boot: &Boot, reason: &str) -> Result<ExitCode, Box<dyn Error>> {
    if let Some(initrd) = &boot.initrd {
        check_is_file(initrd)?;
    }
    if let Some(net) = boot.nets.first() {
        return Err(
            interface::none_in_testbed(net, reason, "", "duplex boot --net tap=tap0").into()
        );
    }
    if let Some(vsock) = &boot.vsock {
        return Err(out_of_reach(&vsock.path).into());
    }
    if let Some(address) = &args.gdb {
        debugger::check_testbed(address)?;
    }
    say(format_args!("booting in the testbed ({reason})"));
    let trace = args.trace.order()?;
    let mut session = session(command(args, boot, trace.as_ref()))?;
    session.inputs.push(boot.kernel.clone());
    session.inputs.extend(boot.initrd.clone());
    // Held, and so locked, as long as it is in use: locks do not reach from the testbed to this host.
    let _locked = trace.as_ref().map(TraceOrder::hold).transpose()?;
    session.writable.extend(trace.map(|trace| trace.path));
    for console in [&boot.serial, &boot.hvc] {
        if let Serial::Path(path) = console {
            session.writable.push(path.clone());
        }
    }
    for disk in &boot.disks {
        check_is_no_device(&disk.path)?;
        let files = if disk.read_only { &mut session.inputs } else { &mut session.writable };
        files.push(disk.path.clone());
    }
    if args.count_instructions {
        session.machine = Machine::counting();
    }
    match testbed::run(&session) {
        Ok(outcome) => {
            if let Some(counts) = outcome.counts {
                timing::print_counts(&counts, args.json)?;
            }
            Ok(outcome.status.into())
        }
        Err(error) => {
            say(&error);
            Ok(error.exit_status().into())
        }
    }
}

/// The testbed reads files, by their names; a pipe was read once already to be checked.
fn check_is_file(initrd: &Path) -> Result<(), String> {
    if initrd.is_file() {
        return Ok(());
    }
    let name = initrd.display();
    Err(format!("initrd {name}: it is a pipe, which the testbed cannot read: write it to a file"))
}

/// A Unix socket leads nowhere but to programs of the same machine.
fn out_of_reach(path: &Path) -> String {
    format!(
        "--vsock path={}: this boot is in the testbed, where no program of this host could connect \
         to it: run duplex and those programs there together, with `duplex testbed run`",
        path.display()
    )
}

/// The testbed has other devices than this host.
fn check_is_no_device(disk: &Path) -> Result<(), String> {
    if disk.is_file() {
        return Ok(());
    }
    let name = disk.display();
    Err(format!("disk {name}: it is a device, which the testbed does not have: give a file"))
}

/// The command inside the testbed: this one, with everything decided.
fn command(args: &Args, boot: &Boot, trace: Option<&TraceOrder>) -> Vec<OsString> {
    let mut argv: Vec<OsString> = vec![testbed::PROGRAM.into(), "boot".into()];
    let mut option = |name: &str, value: OsString| argv.extend([name.into(), value]);
    option("--testbed", "never".into());
    option("--kernel", boot.kernel.clone().into());
    if let Some(initrd) = &boot.initrd {
        option("--initrd", initrd.clone().into());
    }
    option("--cmdline", boot.cmdline.as_os_str().to_owned());
    option("--cpus", boot.cpus.count().to_string().into());
    option("--memory", boot.memory.to_string().into());
    for (name, console) in [("--serial", &boot.serial), ("--hvc", &boot.hvc)] {
        match console {
            Serial::Stdio => option(name, "stdio".into()),
            Serial::Off => option(name, "off".into()),
            Serial::Path(path) => option(name, path.clone().into()),
        }
    }
    for disk in &boot.disks {
        option("--disk", disk.to_argument());
    }
    if let Some(address) = &args.gdb {
        option("--gdb", address.to_string().into());
    }
    if boot.on_reboot == OnReboot::Restart {
        option("--on-reboot", "restart".into());
    }
    if args.count_instructions {
        option("--timing-unit", "instructions".into());
    }
    if args.timing || args.count_instructions {
        argv.push("--timing".into());
    }
    if boot.rng {
        argv.push("--rng".into());
    }
    if boot.balloon {
        argv.push("--balloon".into());
    }
    if let Some(trace) = trace {
        argv.extend(trace.arguments());
    }
    if args.json {
        argv.push("--json".into());
    }
    // Without it, what DUPLEX_LOG says: the environment is passed on.
    if log::max_level() >= log::LevelFilter::Debug {
        argv.push("--verbose".into());
    }
    argv
}
