//! `duplex logs`: what a detached instance has written.

use std::collections::VecDeque;
use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::each::in_testbed;
use crate::instances::{self, Found, LogReader, Record};
use crate::session::poll::Poll;
use crate::session::protocol::Output;

/// Print what a detached instance has written, its standard error on standard error
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  duplex logs web
  duplex logs --follow --tail 10 web

The last 4 to 8 MiB are kept, until `duplex rm`. What is started without --detach has no log, for its
output goes to whoever starts it; with --rm nobody could read it afterwards.")]
pub(super) struct Args {
    /// Stay, and print what it writes, until it ends
    #[arg(long, short)]
    follow: bool,
    /// Only the last so many pieces of output: a piece is what was written at once, often a line
    #[arg(long, short = 'n', value_name = "N", allow_negative_numbers = true)]
    tail: Option<usize>,
    /// Begin each piece with the time at which it came, in seconds since 1970
    #[arg(long, short)]
    timestamps: bool,
    /// Which, by name
    #[arg(value_name = "NAME")]
    name: String,
}

/// Prints it.
pub(super) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let found = instances::find(&args.name)?;
    if !found.about.remains {
        return Err(format!(
            "{} has no log: only what is started with --detach, and without --rm, has one",
            args.name
        )
        .into());
    }
    if found.about.testbed {
        return Ok(in_testbed(&found, to_arguments(args))?.into());
    }
    let Some(mut log) = found.log()? else { return Ok(ExitCode::SUCCESS) };
    print_old(args, &mut log)?;
    if args.follow {
        follow(args, &found, &mut log)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn to_arguments(args: &Args) -> Vec<OsString> {
    let mut arguments = vec!["logs".into(), args.name.clone().into()];
    if args.follow {
        arguments.push("--follow".into());
    }
    if args.timestamps {
        arguments.push("--timestamps".into());
    }
    if let Some(tail) = args.tail {
        arguments.extend(["--tail".into(), tail.to_string().into()]);
    }
    arguments
}

fn print_old(args: &Args, log: &mut LogReader) -> io::Result<()> {
    let Some(tail) = args.tail else { return print_new(args, log) };
    let mut last = VecDeque::new();
    while let Some(record) = log.read()? {
        last.push_back(record);
        if last.len() > tail {
            last.pop_front();
        }
    }
    last.iter().try_for_each(|record| print(args, record))
}

fn print_new(args: &Args, log: &mut LogReader) -> io::Result<()> {
    while let Some(record) = log.read()? {
        print(args, &record)?;
    }
    Ok(())
}

fn print(args: &Args, record: &Record) -> io::Result<()> {
    let mut out: Box<dyn Write> = match record.output {
        Output::Stdout => Box::new(io::stdout().lock()),
        Output::Stderr => Box::new(io::stderr().lock()),
    };
    if args.timestamps {
        write!(out, "{}.{:06} ", record.time.as_secs(), record.time.subsec_micros())?;
    }
    out.write_all(&record.data)?;
    out.flush()
}

fn follow(args: &Args, found: &Found, log: &mut LogReader) -> Result<(), Box<dyn Error>> {
    let changes = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE;
    changes.add_watch(&found.directory(), flags)?;
    let (end, writer) = io::pipe()?;
    found.when_ended(move || drop(writer))?;
    loop {
        // What came before there was a watch, too.
        print_new(args, log)?;
        let mut poll = Poll::new();
        poll.add_fd(false, changes.as_fd(), true, false);
        poll.add(true, &end, true, false);
        let has_ended = poll.wait(None)?.iter().any(|(has_ended, _)| *has_ended);
        if has_ended {
            return Ok(print_new(args, log)?);
        }
        // All at once: which they were does not matter.
        while changes.read_events().is_ok_and(|events| !events.is_empty()) {}
    }
}
