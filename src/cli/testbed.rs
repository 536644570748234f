//! `duplex testbed`: an emulated machine with hardware virtualization, for any command.

use std::error::Error;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args as ClapArgs, Subcommand};

use super::{say, session};
use crate::testbed::{self, Clock, Counts, Machine, Status};
use crate::workload::{Cpus, MemorySize, ParseError};

/// Run commands on an emulated machine that has AMD-V, on hosts without hardware virtualization
///
/// The machine has this host's file system as its own. What commands write there stays in the
/// machine's memory, except to the files and directories named with --write.
#[derive(ClapArgs)]
#[command(after_help = "\
Examples:
  duplex testbed run -- ls -l /dev/kvm          on a machine for this command alone
  duplex testbed start                          one that stays, so that
  duplex testbed run -- bash                    … each command after that starts at once
  duplex testbed stop")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a testbed that stays, so that each command after that needs no start
    Start(Start),
    /// Run a command in the testbed, or in one that is started for it alone
    Run(Run),
    /// Stop the testbeds that stay
    Stop,
    /// Show the testbeds that stay
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// PID 1 in the machine
    #[command(hide = true)]
    Agent,
    /// The first process of each session in the machine
    #[command(hide = true)]
    Session,
    /// The process on the host that owns a machine
    #[command(hide = true)]
    Keeper,
}

#[derive(ClapArgs)]
#[command(after_help = "\
Examples:
  duplex testbed start
  duplex testbed start --cpus 4 --memory 6G
  duplex testbed start --count-instructions     beside the normal one")]
struct Start {
    /// How many CPUs it has: 1 to 32
    #[arg(long, value_name = "N", default_value = "2")]
    cpus: Cpus,
    /// How much memory it has: 512M or more, in bytes or with K, M, G, T
    #[arg(long, value_name = "SIZE", default_value = "3G", value_parser = memory)]
    memory: MemorySize,
    /// Start the machine whose clock counts instructions; it has one CPU
    #[arg(long, conflicts_with = "cpus")]
    count_instructions: bool,
    /// Do not return: the testbed ends with this command. Prints a line when it is up
    #[arg(long)]
    foreground: bool,
}

#[derive(ClapArgs)]
#[command(after_help = "\
Examples:
  duplex testbed run -- qemu-system-x86_64 -M microvm -enable-kvm -version
  duplex testbed run --write out.json -- ./bench --out out.json
  duplex testbed run --count-instructions -- /bin/echo hello

Exit status: the command's; 128+n when signal n ended it; 125 when duplex failed, 126 when the
command cannot be executed, 127 when it is not found.")]
struct Run {
    /// A file or directory that the command may write to (created as a file if missing)
    #[arg(long, value_name = "PATH")]
    write: Vec<PathBuf>,
    /// A file or directory that the command reads: needed in /dev, /proc, /run and /sys, and with
    /// --count-instructions
    #[arg(long, value_name = "PATH")]
    input: Vec<PathBuf>,
    /// Count the instructions that the whole machine executes until the command's first byte, its
    /// first line, and its end
    ///
    /// The command runs from memory, and finds only its program with its libraries, and what was
    /// named with --input. Its standard input is empty.
    #[arg(long)]
    count_instructions: bool,
    /// With --count-instructions: print the counts as JSON
    #[arg(long, requires = "count_instructions")]
    json: bool,
    /// The command and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    command: Vec<OsString>,
}

/// Runs it and returns the exit status.
pub(super) fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    match args.command {
        Command::Start(start) => start.run(),
        Command::Run(run) => run.run(),
        Command::Stop => stop(),
        Command::Status { json } => status(json),
        Command::Agent => Ok(testbed::agent()),
        Command::Session => Ok(testbed::session()),
        Command::Keeper => Ok(testbed::keeper()),
    }
}

impl Start {
    fn run(self) -> Result<ExitCode, Box<dyn Error>> {
        let memory_mib = u32::try_from(self.memory.bytes() >> 20)?;
        let machine = Machine { memory_mib, ..machine(self.count_instructions) };
        let machine = match machine.clock {
            Clock::Wall => Machine { cpus: self.cpus.count(), ..machine },
            Clock::Instructions => machine,
        };
        if self.foreground {
            testbed::start_and_stay(&machine, || {
                // Whoever waits for the line reads it from a pipe; nobody else has to.
                let _ = writeln!(std::io::stdout(), "the testbed is up");
            })?;
        } else if !testbed::start(&machine)? {
            say("the testbed is running already");
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Run {
    fn run(self) -> Result<ExitCode, Box<dyn Error>> {
        let mut session = session(self.command)?;
        session.writable = self.write;
        session.inputs = self.input;
        session.machine = machine(self.count_instructions);
        match testbed::run(&session) {
            Ok(outcome) => {
                if let Some(counts) = outcome.counts {
                    print_counts(&counts, self.json)?;
                }
                Ok(outcome.status.into())
            }
            Err(error) => {
                say(&error);
                Ok(error.exit_status().into())
            }
        }
    }
}

fn machine(count_instructions: bool) -> Machine {
    if count_instructions { Machine::counting() } else { Machine::default() }
}

fn stop() -> Result<ExitCode, Box<dyn Error>> {
    if testbed::stop()? == 0 {
        say("no testbed is running");
    }
    Ok(ExitCode::SUCCESS)
}

fn status(json: bool) -> Result<ExitCode, Box<dyn Error>> {
    let all = testbed::status()?;
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, &all)?;
        writeln!(out)?;
    } else {
        let mut table = super::table(&["TESTBED", "CPUS", "MEMORY", "KERNEL", "COMMANDS"]);
        for Status { machine, kernel, sessions, .. } in all {
            let kind = match machine.clock {
                Clock::Wall => "normal",
                Clock::Instructions => "counting",
            };
            let kernel = if kernel.is_empty() { "starting".into() } else { kernel };
            table.add_row([
                kind.to_owned(),
                machine.cpus.to_string(),
                format!("{}M", machine.memory_mib),
                kernel,
                sessions.to_string(),
            ]);
        }
        writeln!(out, "{table}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints counts on stderr: stdout is the command's.
fn print_counts(counts: &Counts, json: bool) -> Result<(), Box<dyn Error>> {
    if json {
        super::report(serde_json::to_string(counts)? + "\n");
        return Ok(());
    }
    let mut table = super::table(&["SINCE THE START", "INSTRUCTIONS"]);
    let rows = [
        ("first byte", counts.first_byte),
        ("first line", counts.first_line),
        ("end", Some(counts.end)),
    ];
    for (name, count) in rows {
        table.add_row([name.to_owned(), count.map_or("none".into(), millions)]);
    }
    super::report(format_args!("{table}\n"));
    Ok(())
}

/// A count with a decimal for thousands of a million: as exact as counts are the same.
fn millions(count: u64) -> String {
    format!("{}.{:03} million", count / 1_000_000, count % 1_000_000 / 1000)
}

/// The machine's kernel and its initramfs alone take a good part of this.
const LEAST_MEMORY: u64 = 512 << 20;

fn memory(text: &str) -> Result<MemorySize, String> {
    let size: MemorySize = text.parse().map_err(|error: ParseError| error.to_string())?;
    if size.bytes() < LEAST_MEMORY {
        return Err(format!("{size} is too little memory for the testbed: give at least 512M"));
    }
    Ok(size)
}
