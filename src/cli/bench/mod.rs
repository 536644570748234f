//! `duplex bench`: what the wall costs, measured on this machine.

mod asked;
mod compare;
mod go;
mod observe;
mod out;
mod plan;
mod progress;
mod read;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use self::asked::Asked;
use super::report;
use super::testbed_mode::TestbedMode;
use crate::bench::cases::Questions;
use crate::bench::contenders;
use crate::bench::labs::Lab;
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
  duplex bench density --instances 100          how many this machine has room for
  duplex bench noise                            what a neighbour takes, with limits and without
  duplex bench lab resource-exhaustion          a failure, and what mends it
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
    /// How fast it computes, and is served by its kernel
    Cpu(MeasureArgs),
    /// What memory an instance needs, and what comes back when its workload gives some back
    Memory(MeasureArgs),
    /// How fast it reads, writes and makes durable
    Disk(MeasureArgs),
    /// How fast it talks with this host
    Net(MeasureArgs),
    /// How many start at once, how fast, and what each needs
    Density(DensityArgs),
    /// How much a neighbour disturbs that eats processors, memory, the disk or processes. In the testbed,
    /// unless --testbed never is given
    Noise(MeasureArgs),
    /// What it can see and reach, tried from inside
    Isolation(MeasureArgs),
    /// A production failure, lived again, with what mends it. Those that could starve this host are lived in the
    /// testbed, unless --testbed never is given
    Lab(LabArgs),
    /// All of it but the labs, in 40 minutes (longer with --peers): where --runs does not fit, tables have
    /// fewer rounds, and say how many
    All(DensityArgs),
}

/// The cases of `all`, in the order in which they are measured.
const ALL: [Case; 8] = [
    Case::Start,
    Case::Cpu,
    Case::Memory,
    Case::Disk,
    Case::Net,
    Case::Density,
    Case::Isolation,
    Case::Noise,
];

#[derive(clap::Args)]
struct DensityArgs {
    /// How many instances run at once at most [default: 32, and 8 in the testbed]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    instances: Option<u32>,
    #[command(flatten)]
    measure: MeasureArgs,
}

#[derive(clap::Args)]
struct LabArgs {
    /// Which
    #[arg(value_name = "NAME", value_enum)]
    lab: Lab,
    /// With slow-scaling: how many instances are wanted at once [default: 50]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    instances: Option<u32>,
    #[command(flatten)]
    measure: MeasureArgs,
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
    fn asked(&self) -> (Vec<Case>, Questions, &MeasureArgs) {
        let nothing_else = Questions::default();
        let (case, args) = match self {
            Command::All(args) | Command::Density(args) => {
                let is_all = matches!(self, Command::All(_));
                let cases = if is_all { ALL.to_vec() } else { vec![Case::Density] };
                let questions =
                    Questions { instances: args.instances, in_time: is_all, ..nothing_else };
                return (cases, questions, &args.measure);
            }
            Command::Lab(args) => {
                let questions =
                    Questions { lab: Some(args.lab), instances: args.instances, ..nothing_else };
                return (vec![Case::Lab], questions, &args.measure);
            }
            Command::Start(args) => (Case::Start, args),
            Command::Cpu(args) => (Case::Cpu, args),
            Command::Memory(args) => (Case::Memory, args),
            Command::Disk(args) => (Case::Disk, args),
            Command::Net(args) => (Case::Net, args),
            Command::Noise(args) => (Case::Noise, args),
            Command::Isolation(args) => (Case::Isolation, args),
        };
        (vec![case], nothing_else, args)
    }
}

/// Runs it and returns the exit status.
pub(super) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let command = match &args.command {
        Chosen::Measure(command) => command,
        Chosen::Read(command) => return command.run(),
    };
    let (cases, questions, args) = command.asked();
    if args.count_instructions && cases != [Case::Start] {
        return Err("--count-instructions: only starts are counted: `duplex bench start`".into());
    }
    if let Some(lab) = questions.lab {
        report(format_args!("{}\n", lab.story()));
    }
    let asked = Asked {
        cases,
        questions,
        peers: args.peers || !args.only.is_empty(),
        only: args.only.clone(),
        runs: args.runs,
        seed: args.seed.map_or_else(asked::seed, Ok)?,
        testbed: args.testbed,
        count_instructions: args.count_instructions,
    };
    let out = args.out.as_deref().map(out::Directory::make).transpose()?;
    let (results, status) = go::go(&asked)?;
    let written = out.map_or(Ok(()), |out| out.write(&results));
    if args.json {
        out::print(&results)?;
    } else {
        out::show(&results)?;
    }
    // Where it could not be written, what was found has at least been shown.
    written?;
    Ok(status)
}

fn contender_id(text: &str) -> Result<String, String> {
    if contenders::ids().any(|id| id == text) {
        return Ok(text.to_owned());
    }
    let all: Vec<&str> = contenders::ids().collect();
    Err(format!("there is no contender called {text}: give one of {}", all.join(", ")))
}
