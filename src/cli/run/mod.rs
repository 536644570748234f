//! `duplex run`: one command in a guest of its own.

mod attend;
mod container;
mod detach;
mod here;
mod in_testbed;
mod layer;
mod limits;
mod mounts;
mod network;
mod order;
mod security;
mod vm;
mod vmm;
mod volumes;

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ArgGroup;
use clap::builder::{OsStringValueParser, TypedValueParser};

pub(super) use self::in_testbed::session_among_guests;
use self::limits::LimitArgs;
use self::mounts::MountArgs;
use self::network::NetworkArgs;
use self::order::{Order, Subject};
use self::security::SecurityArgs;
use super::process::ProcessArgs;
use super::testbed_mode::TestbedMode;
use super::tracing::TraceArgs;
use crate::image::{self, Lease, StoredImage};
use crate::init::Start;
use crate::instances::{About, Half, now, random_name};
use crate::isolate::capabilities::CapabilityChoice;
use crate::trace::boot::{Phase, Recorder};
use crate::workload::Volume;

/// What runs where the image's user did not say.
const SHELL: &str = "/bin/sh";

/// Run a command in a sandbox, a VM or a container, with the image as its root file system
///
/// What the command writes and reads, the signals that duplex gets, and the command's exit status are
/// passed on, as if it ran here. What it changes in its root is gone with it, unless --keep is
/// given; the image itself never changes.
#[derive(clap::Args)]
#[command(group = ArgGroup::new("measured").multiple(true))]
#[command(after_help = "\
Examples:
  duplex run ./rootfs echo hello
  duplex run --container ./rootfs echo hello    the same in a container
  duplex run -it ./rootfs sh                    a shell on this terminal
  tar c . | duplex run -i ./rootfs tar x        data through a pipe
  duplex run --cpus 2 --memory 1G -e LANG=C -w /src -u 1000 ./rootfs make
  duplex run -v .:/src:ro -v ./out:/out ./rootfs cp /src/Makefile /out
  duplex run --keep changes.ext4 ./rootfs sh -c 'echo kept >/file'
  duplex run --net user ./rootfs wget http://example.com/
  duplex run --net user -p 8080:80 ./rootfs httpd -f     this host's port 8080 leads to it
  sudo $(command -v duplex) run --container --net bridge -p 8080:80 --net-rate 10M ./rootfs httpd -f
  duplex run debian:12                          an image that `duplex image import` has made
  duplex run --trace run.trace ./rootfs true    then `duplex trace show run.trace`
  duplex run -d --name web ./rootfs server      on its own, then
  duplex exec web ps                            a second command in it,
  duplex logs web                               what it has written, and
  duplex stop web && duplex rm web

Exit status: the command's; 128+n when signal n ended it; 125 when duplex failed, 126 when the
command cannot be executed, 127 when it is not found.")]
pub(super) struct Args {
    /// Run it in a VM: the default
    #[arg(long, conflicts_with = "container")]
    vm: bool,
    /// Run it in a container: behind namespaces of this host's kernel
    #[arg(long)]
    container: bool,
    #[command(flatten)]
    process: ProcessArgs,
    /// Show it the directory HOST of this host, which must be there, at GUEST, which is made if missing;
    /// with :ro it cannot write to it. Can be given again, 8 times in all
    #[arg(
        long,
        short,
        value_name = "HOST:GUEST[:ro]",
        value_parser = OsStringValueParser::new().try_map(Volume::try_from)
    )]
    volume: Vec<Volume>,
    /// What others find it by, and its host name [default: random digits]
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<String>,
    /// Leave it running, and print its name: `duplex logs`, `exec`, `stop` and others find it by that,
    /// and `duplex rm` removes what remains of it. Not with -i, -t, --timing or --count-instructions
    #[arg(long, short, conflicts_with_all = ["interactive", "tty", "timing", "count_instructions"])]
    detach: bool,
    /// With --detach: remove its log and its end, too, when it has ended. Without --detach nothing
    /// remains anyway
    #[arg(long)]
    rm: bool,
    /// With --container: give its root a capability, such as NET_ADMIN, or ALL. Can be given again
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<CapabilityChoice>,
    /// With --container: take one from its root. Can be given again
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<CapabilityChoice>,
    #[command(flatten)]
    mounts: MountArgs,
    /// Keep what it changes in its root in this file (a sparse ext4 image, made if missing), for
    /// further runs of the same image
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,
    /// With --container: print each step to it, with the reason, and do nothing
    #[arg(long)]
    explain: bool,
    /// With --container: stop behind this step, by its number in --explain or by a part of its name, and
    /// say what there is by then: users, namespaces, mounts, capabilities. No command is run
    #[arg(long, value_name = "STEP", conflicts_with_all = ["explain", "detach", "measured"])]
    until: Option<String>,
    /// When it has ended, say on stderr where the time went
    #[arg(long, group = "measured")]
    timing: bool,
    /// With --timing or --count-instructions: as JSON, a line each
    #[arg(long, requires = "measured")]
    json: bool,
    /// Whether to run in the testbed, an emulated machine with hardware virtualization: auto does
    /// where this host has none
    #[arg(long, value_enum, value_name = "WHEN", env = "DUPLEX_TESTBED", default_value = "auto")]
    testbed: TestbedMode,
    /// Run in the testbed whose clock counts instructions, and print the counts: the same on every
    /// run to about 1 %. Implies --timing. Not with -d, -i, -t, --keep or -v
    #[arg(long, group = "measured", conflicts_with_all = ["interactive", "tty", "keep", "volume"])]
    count_instructions: bool,
    /// What is executed instead of the image's entry point, with COMMAND as its arguments; empty for
    /// no entry point
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<OsString>,
    // Their headings hold for whatever follows.
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    security: SecurityArgs,
    #[command(flatten)]
    trace: TraceArgs,
    /// With --trace of a container: write down each system call of its commands, too. Each then stops twice,
    /// which makes it some 80 µs longer
    #[arg(long, requires = "trace")]
    trace_syscalls: bool,
    /// The image: a directory with a root file system, or the name of an image that was imported
    #[arg(value_name = "IMAGE")]
    image: OsString,
    /// The command and its arguments, in the place of the image's [default: what the image says,
    /// else /bin/sh]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Carries out what another process has decided.
#[derive(clap::Args)]
pub(super) struct OrderArgs {
    /// The order, as JSON; "-" for standard input
    path: PathBuf,
}

/// Runs the command; returns the exit status.
pub(super) fn run(args: &Args, recorder: Recorder) -> Result<ExitCode, Box<dyn Error>> {
    args.process.check()?;
    args.mounts.check(&args.volume)?;
    let (subject, _lease) = subject(args)?;
    let order = if args.container {
        recorder.reached(Phase::Decided);
        let order = container::decide(args, subject)?;
        if args.explain {
            write!(io::stdout(), "{}", container::explain(&order)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        Order::Container(Box::new(order))
    } else {
        Order::Vm(Box::new(vm::decide(args, subject)?))
    };
    if args.detach {
        return detach::run(&order);
    }
    carry_out(order, recorder)
}

/// Runs what was decided elsewhere.
pub(super) fn run_order(args: &OrderArgs, recorder: Recorder) -> Result<ExitCode, Box<dyn Error>> {
    let mut json = Vec::new();
    if args.path.as_os_str() == "-" {
        io::stdin().read_to_end(&mut json)?;
    } else {
        json = std::fs::read(&args.path)?;
    }
    let order: Order = serde_json::from_slice(&json)?;
    let _lease = order.subject().leased.as_deref().map(Lease::take).transpose()?;
    carry_out(order, recorder)
}

fn carry_out(order: Order, recorder: Recorder) -> Result<ExitCode, Box<dyn Error>> {
    if let Err(error) = crate::network::sweep() {
        log::warn!("what others have left on networks stays for now: {error}");
    }
    match order {
        order if order.subject().about.testbed => in_testbed::run(&order),
        Order::Container(mut order) => container::run(&mut order, &recorder),
        Order::Vm(order) => here::run(&order, recorder),
    }
}

/// What is to run, whatever the half. An image of the store stays as long as the lease.
fn subject(args: &Args) -> Result<(Subject, Option<Lease>), Box<dyn Error>> {
    let image = image::resolve(&args.image)?;
    let lease = image.stored.as_ref().map(StoredImage::lease).transpose()?;
    let process = image.process();
    let name = args.name.clone().map_or_else(random_name, Ok)?;
    let mut argv = process.command(args.entrypoint.as_ref(), &args.command);
    if argv.is_empty() {
        argv.push(SHELL.into());
    }
    let about = About {
        name: name.clone(),
        half: if args.container { Half::Container } else { Half::Vm },
        image: match &image.stored {
            Some(stored) => stored.config.name.as_str().into(),
            None => image.root.clone(),
        },
        process: process.clone(),
        command: argv.iter().map(|arg| arg.to_string_lossy().into_owned()).collect(),
        testbed: false,
        remains: args.detach && !args.rm,
        started: now(),
    };
    let invocation = args.process.invocation(argv, &name, &process);
    let user = args.process.user(&process);
    let subject = Subject {
        about,
        image: image.root,
        leased: image.stored.map(|stored| stored.directory().to_owned()),
        start: Start { invocation, user, setting: None },
        input: args.process.interactive,
        terminal: args.process.tty,
        detached: args.detach,
    };
    Ok((subject, lease))
}

/// A name that is good for a host, a file and a person.
fn name(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if starts && text.len() <= 63 && text.chars().all(good) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "'{text}' is no name: give up to 63 letters, digits, '_', '.' and '-', the first a letter or digit"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_good_for_hosts_and_files() {
        for good in ["web", "a", "0.x_y-z"] {
            assert_eq!(name(good).unwrap(), good);
        }
        for bad in ["", ".", "-x", "a/b", "a b", "é", &"x".repeat(64)] {
            assert!(name(bad).unwrap_err().contains("is no name"), "{bad}");
        }
    }
}
