//! `duplex bench`: what the wall costs, measured on this machine.

mod compare;
mod go;
mod observe;
mod out;
mod progress;
mod read;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use self::go::Asked;
use super::testbed_mode::TestbedMode;
use crate::bench::contenders;
use crate::bench::results::Case;

pub(super) use self::observe::{OBSERVE, ObserveArgs, observe};

/// Measure what the wall costs: the VM, the container, and what else is on this host, on the same work
///
/// All contenders run the same static program on the same image, in turns, and one observer times them from
/// outside. docs/bench.md tells the method, and what it can't tell.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  duplex bench start                            plain process, container and VM
  duplex bench start --peers --out report       with crun, runc, QEMU and what else is here
  duplex bench start --count-instructions       in instructions, which can be repeated
  duplex bench all --runs 10 --out report
  duplex bench compare report/report.json later/report.json

Exit status: 0; 130 when it was interrupted, what was found until then is kept; 125 when duplex failed.")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Chosen,
}

#[derive(Subcommand)]
enum Chosen {
    #[command(flatten)]
    Measure(Command),
    #[command(flatten)]
    Read(read::Command),
}

#[derive(Subcommand)]
enum Command {
    /// How long until the workload says something
    Start(MeasureArgs),
    /// All of it
    All(MeasureArgs),
}

/// What all cases have in common.
#[derive(clap::Args)]
struct MeasureArgs {
    /// Also those that are not duplex's own: crun, runc, podman, docker, ctr, unshare, bubblewrap, runsc, QEMU,
    /// Firecracker, Cloud Hypervisor, as far as they are there
    #[arg(long)]
    peers: bool,
    /// How many rounds count
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,
    /// What the orders and the bootstrap are drawn from [default: another each time; it is printed]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Put the report into this directory, which must be empty or not there
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print report.json instead of a summary
    #[arg(long)]
    json: bool,
    /// Only this contender, and others that are named. Can be given again
    #[arg(long, value_name = "ID", value_parser = contender_id)]
    only: Vec<String>,
    /// Whether to measure in the testbed, an emulated machine with hardware virtualization: auto does for VMs
    /// where this host has none
    #[arg(long, value_enum, value_name = "WHEN", env = "DUPLEX_TESTBED", default_value = "auto")]
    testbed: TestbedMode,
    /// Measure in the testbed whose clock counts instructions, and nowhere else
    #[arg(long)]
    count_instructions: bool,
}

impl Command {
    fn asked(&self) -> (Vec<Case>, &MeasureArgs) {
        match self {
            Command::Start(args) | Command::All(args) => (vec![Case::Start], args),
        }
    }
}

/// Runs it and returns the exit status.
pub(super) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let command = match &args.command {
        Chosen::Measure(command) => command,
        Chosen::Read(command) => return command.run(),
    };
    let (cases, args) = command.asked();
    let asked = Asked {
        cases,
        peers: args.peers || !args.only.is_empty(),
        only: args.only.clone(),
        runs: args.runs,
        seed: args.seed.map_or_else(go::seed, Ok)?,
        testbed: args.testbed,
        count_instructions: args.count_instructions,
    };
    let out = args.out.as_deref().map(out::Directory::make).transpose()?;
    let results = go::go(&asked)?;
    if let Some(out) = &out {
        out.write(&results)?;
    }
    if args.json {
        out::print(&results)?;
    } else {
        out::show(&results)?;
    }
    Ok(if results.complete { ExitCode::SUCCESS } else { go::INTERRUPTED.into() })
}

fn contender_id(text: &str) -> Result<String, String> {
    if contenders::ids().any(|id| id == text) {
        return Ok(text.to_owned());
    }
    let all: Vec<&str> = contenders::ids().collect();
    Err(format!("there is no contender called {text}: give one of {}", all.join(", ")))
}
