//! `duplex doctor`: what this host can do, and how to get what it lacks.

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Args as ClapArgs;
use serde::Serialize;

use crate::host::{self, Check, State, Virtualization};
use crate::terminal::window_size;
use crate::vm::kvm;

/// Show what this host can do: virtualization, isolation, and the tools to compare with
///
/// Exit status: 0, or 1 when guests can run neither on this host nor in the testbed.
#[derive(ClapArgs)]
#[command(after_help = "\
Examples:
  duplex doctor
  duplex doctor --json")]
pub(super) struct Args {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Everything that was found.
#[derive(Serialize)]
struct Report {
    /// Whether guests can run in some way.
    usable: bool,
    /// One a row.
    checks: Vec<Check>,
}

/// Runs it and returns the exit status.
pub(super) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let report = examine();
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", text(&report))?;
    }
    Ok(if report.usable { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn examine() -> Report {
    let virtualization = host::virtualization();
    let kvm = kvm_check();
    let tools = host::tools();
    let natively = matches!(virtualization, Virtualization::Hardware(_)) && kvm.state == State::Ok;
    // The first of the tools is the testbed's emulator.
    let in_testbed = tools.first().is_some_and(|qemu| qemu.state != State::Missing);
    let mut checks = vec![
        virtualization.check(),
        kvm,
        host::tun(),
        host::cgroups(),
        host::user_namespaces(),
        host::overlayfs(),
        host::landlock(),
        host::apparmor(),
    ];
    checks.extend(tools);
    Report { usable: natively || in_testbed, checks }
}

/// Whether KVM has what duplex needs.
fn kvm_check() -> Check {
    const NAME: &str = "KVM";
    match kvm::open(Path::new(kvm::DEVICE)) {
        Ok(kvm) => {
            let (version, cpus) = (kvm.get_api_version(), kvm.get_max_vcpus());
            Check::ok(NAME, format!("API version {version}, up to {cpus} vCPUs a guest"))
        }
        Err(error) => Check::missing(
            NAME,
            error.to_string(),
            "see hardware virtualization; guests run in the testbed",
        ),
    }
}

fn text(report: &Report) -> String {
    let mut table = super::table(&["CHECK", "STATE", "FINDING"]);
    table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic).set_width(width());
    for check in &report.checks {
        let state = match check.state {
            State::Ok => "ok",
            State::Limited => "limited",
            State::Missing => "missing",
        };
        let finding = match &check.remedy {
            None => check.finding.clone(),
            Some(remedy) => format!("{}\n→ {remedy}", check.finding),
        };
        table.add_row([check.name.clone(), state.to_owned(), finding]);
    }
    let verdict = if report.usable {
        "Guests can run here."
    } else {
        "Guests can't run here: neither on hardware virtualization nor in the testbed.\n\
         → the shortest way: apt-get install qemu-system-x86"
    };
    let rows = table.lines().map(|row| format!("{}\n", row.trim_end())).collect::<String>();
    format!("{rows}\n{verdict}\n")
}

/// How wide the table may be: as wide as the terminal, or as a page where there is none.
fn width() -> u16 {
    let out = std::io::stdout();
    let terminal = out.is_terminal().then(|| window_size(&out).ok()).flatten();
    terminal.map(|size| size.columns).filter(|columns| *columns > 0).unwrap_or(100)
}
