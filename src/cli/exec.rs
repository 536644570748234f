//! `duplex exec`: a further command in a guest that runs.

use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::process::ExitCode;

use super::process::ProcessArgs;
use super::run::session_among_guests;
use super::{FAILED, say};
use crate::init::{FURTHER_PORT, Message, Start};
use crate::instances::{self, Found};
use crate::session::host::{CallersStreams, End, Relay, Signals, User};
use crate::session::protocol::{Ending, Invocation};
use crate::testbed;

/// Run a further command in an instance that runs
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  duplex exec web ps
  duplex exec -it web sh

Exit status: as of duplex run.")]
pub(super) struct Args {
    #[command(flatten)]
    process: ProcessArgs,
    /// Which, by name
    #[arg(value_name = "NAME")]
    name: String,
    /// The command and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    command: Vec<OsString>,
}

/// Runs it; returns the exit status.
pub(super) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let found = instances::find(&args.name)?;
    args.process.check()?;
    if found.about.testbed { in_testbed(args) } else { here(args, &found) }
}

fn here(args: &Args, found: &Found) -> Result<ExitCode, Box<dyn Error>> {
    let connection = found.connect(FURTHER_PORT)?;
    let signals = Signals::take()?;
    let streams = CallersStreams::take_for(args.process.interactive, args.process.tty)?;
    let invocation = Invocation {
        streams: streams.kinds(),
        window: streams.window(),
        ..args.process.invocation(args.command.clone(), &args.name, &found.about.process)
    };
    let user = args.process.user(&found.about.process);
    let start = Start { invocation, user, setting: None };
    let mut guest = Guest;
    let relay = Relay::new(OwnedFd::from(connection).into(), streams, &mut guest);
    Ok(match relay.run(start, args.process.takes_terminal(), signals)? {
        End::Ended(ending) => ending.exit_status(),
        End::NotStarted { reason, kind } => {
            say(reason);
            kind.exit_status()
        }
        End::Interrupted(number) => Ending::Killed(number).exit_status(),
        End::Lost => {
            say(format_args!(
                "{} has ended, and the command with it; or it can start no more processes: give it more \
                 with --pids-limit",
                args.name
            ));
            FAILED
        }
    }
    .into())
}

/// The same command, in the machine that the guest is in.
fn in_testbed(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let mut command: Vec<OsString> = vec![testbed::PROGRAM.into(), "exec".into()];
    command.extend(args.process.to_arguments());
    command.extend(["--".into(), args.name.clone().into()]);
    command.extend(args.command.iter().cloned());
    let mut session = session_among_guests(command)?;
    session.reads_input = args.process.interactive;
    match testbed::run(&session) {
        Ok(outcome) => Ok(outcome.status.into()),
        Err(error) => {
            say(&error);
            Ok(error.exit_status().into())
        }
    }
}

/// The guest, of which its own socket tells all.
struct Guest;

impl User for Guest {
    type Start = Start;
    type Message = Message;

    fn end_of_machine(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn message(&mut self, _message: Message) -> io::Result<()> {
        Ok(())
    }

    fn data(&mut self, _data: &[u8]) -> io::Result<()> {
        Err(io::Error::other("the other side sent data that belong to nothing"))
    }
}
