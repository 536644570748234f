//! The command line: one file a subcommand.

use std::error::Error;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::file_server;
use crate::init;
use crate::testbed::Session;
use crate::trace::boot::{Phase, Recorder};

mod bench;
mod boot;
mod debugger;
mod doctor;
mod each;
mod exec;
mod image;
mod inspect;
mod interface;
mod learn;
mod logs;
mod network;
mod pause;
mod process;
mod ps;
mod rm;
mod run;
mod stats;
mod stop;
mod testbed;
mod testbed_mode;
mod timing;
mod trace;
mod tracing;
mod volume_server;
mod wait;

/// What the kernel of a guest calls its init with.
const INIT: &str = "guest-init";

/// duplex itself failed, as docker has it; what the workload returned otherwise.
pub const FAILED: u8 = 125;

/// A run was interrupted (SIGINT), and what it had done is kept.
const INTERRUPTED: u8 = 130;

/// The status of a program that SIGPIPE has ended.
const BROKEN_PIPE: u8 = 141;

/// One image, two homes: runs Linux guests in a KVM VM, and shows how that works.
#[derive(Parser)]
#[command(version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "\
Examples:
  duplex run ./rootfs echo hello                run a command in a VM of its own
  duplex image import debian.tar debian:12      unpack an image, then
  duplex run debian:12                          run it
  duplex boot                                   boot the demo guest
  duplex boot --kernel vmlinux --initrd rootfs.cpio --cpus 2 --memory 512M
  duplex bench start                            what a VM and a container cost here
  duplex boot --trace boot.trace; duplex trace show boot.trace     where its time went
  duplex learn                                  lessons: see a VM work, exit by exit
  duplex doctor                                 what this host can do, and what would mend the rest
  duplex testbed run -- ls -l /dev/kvm          run a command on a machine that has AMD-V

Exit status: what the guest or workload ended with; 125 when duplex itself failed,
126 when a command cannot be executed, 127 when it is not found, 128+n for signal n.")]
struct Cli {
    /// Say more on stderr: debug messages of every module (or set DUPLEX_LOG, as in
    /// DUPLEX_LOG=duplex::vm=debug)
    #[arg(long, global = true, display_order = 900)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
// Most of the options belong to commands that are not called.
#[command(defer = true)]
enum Command {
    Boot(boot::Args),
    Run(Box<run::Args>),
    Ps(ps::Args),
    Inspect(inspect::Args),
    Logs(logs::Args),
    Exec(exec::Args),
    Stats(stats::Args),
    Pause(pause::PauseArgs),
    Resume(pause::ResumeArgs),
    Stop(stop::StopArgs),
    Kill(stop::KillArgs),
    Wait(wait::Args),
    Rm(rm::Args),
    Image(image::Args),
    Bench(Box<bench::Args>),
    Learn(learn::Args),
    Doctor(doctor::Args),
    Network(network::Args),
    Trace(trace::Args),
    Testbed(testbed::Args),
    /// What another process has decided
    #[command(hide = true)]
    RunOrder(run::OrderArgs),
    #[command(name = bench::OBSERVE, hide = true)]
    BenchObserve(bench::ObserveArgs),
    /// PID 1 in a guest
    #[command(name = INIT, hide = true)]
    GuestInit,
    /// The file server of a volume, confined to it
    #[command(name = file_server::SUBCOMMAND, hide = true)]
    VolumeServer(volume_server::Args),
}

/// Runs the command line and returns the exit status.
pub fn main() -> ExitCode {
    let recorder = Recorder::since_exec();
    recorder.reached(Phase::Main);
    // What the command line is made of costs a guest a million instructions.
    if nix::unistd::getpid().as_raw() == 1 && std::env::args_os().nth(1) == Some(INIT.into()) {
        return init::main();
    }
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => {
            // --help and --version come this way too, and are no failure.
            let status = if error.use_stderr() { FAILED } else { 0 };
            let _ = error.print();
            return status.into();
        }
    };
    start_logging(cli.verbose);
    let result = match cli.command {
        Command::Boot(args) => boot::run(&args, recorder),
        Command::Run(args) => run::run(&args, recorder),
        Command::RunOrder(args) => run::run_order(&args, recorder),
        Command::Exec(args) => exec::run(&args),
        Command::Ps(args) => ps::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Logs(args) => logs::run(&args),
        Command::Stats(args) => stats::run(&args),
        Command::Pause(args) => pause::pause(&args),
        Command::Resume(args) => pause::resume(&args),
        Command::Stop(args) => stop::stop(&args),
        Command::Kill(args) => stop::kill(&args),
        Command::Wait(args) => wait::run(&args),
        Command::Rm(args) => rm::run(&args),
        Command::Image(args) => image::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::BenchObserve(args) => bench::observe(&args),
        Command::Learn(args) => learn::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Network(args) => network::run(&args),
        Command::Trace(args) => trace::run(&args),
        Command::Testbed(args) => testbed::run(args),
        Command::GuestInit => Ok(init::main()),
        Command::VolumeServer(args) => Ok(volume_server::run(&args)),
    };
    match result {
        Ok(status) => status,
        Err(error) if is_broken_pipe(error.as_ref()) => BROKEN_PIPE.into(),
        Err(error) => {
            say(error);
            FAILED.into()
        }
    }
}

/// Parses the command line, with the options of the command that is called alone; and with all where that
/// fails, for messages and help tell about them.
fn parse() -> Result<Cli, clap::Error> {
    Cli::try_parse().or_else(|_| {
        let mut whole = Cli::command();
        whole.build();
        Cli::from_arg_matches(&whole.try_get_matches()?)
    })
}

/// Whether nobody reads any more what was to be printed, as in `duplex logs web | head`: nothing to tell.
fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    let of_json = || error.downcast_ref::<serde_json::Error>()?.io_error_kind();
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind).or_else(of_json);
    kind == Some(io::ErrorKind::BrokenPipe)
}

fn start_logging(verbose: bool) {
    let default = if verbose { "debug" } else { "warn" };
    let filter = env_logger::Env::new().filter_or("DUPLEX_LOG", default);
    env_logger::Builder::from_env(filter).format_target(false).format_timestamp(None).init();
}

/// A command for the testbed, to be run from this directory.
fn session(command: Vec<OsString>) -> Result<Session, String> {
    Session::new(command).map_err(|error| {
        format!("the working directory cannot be told: {error}; change to one that is there")
    })
}

/// A message on stderr.
fn say(message: impl Display) {
    report(format_args!("duplex: {message}\n"));
}

/// Text on stderr: stdout is the guest's or the command's. Whoever closed it, or let it fill a disk,
/// does without; `eprint!` would panic.
fn report(text: impl Display) {
    let _ = write!(std::io::stderr(), "{}", harmless(&text.to_string()));
}

/// Text for people's eyes, some of which may come from an image or a hostile guest: a terminal shows it and
/// does nothing else. Characters that control one are replaced, but for line breaks and tabs.
fn harmless(text: &str) -> String {
    let controls = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    text.replace(controls, "\u{fffd}")
}

/// An empty table without rules, in the style of docker's.
fn table(header: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(header.iter().copied());
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_does_nothing_to_a_terminal() {
        let plain = "a\tb\nü 日本 \u{1f600}";
        assert_eq!(harmless(plain), plain);
        // Those of ASCII, DEL, and the one-character form of ESC [.
        assert_eq!(
            harmless("\x1b[2J\r\x07\x7f\u{9b}x"),
            "\u{fffd}[2J".to_owned() + &"\u{fffd}".repeat(4) + "x"
        );
    }
}
