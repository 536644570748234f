//! The client: a stand-in on the host for a command that runs in the testbed.

mod files;
mod relay;
mod signals;
mod streams;

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use self::files::NamedFile;
use self::relay::Relay;
use self::streams::CallersStreams;
use super::closure::find_program;
use super::control::Channel;
use super::launch::{Launched, Lifetime, launch};
use super::poll::Poll;
use super::protocol::{Answer, Export, Greeting, Mount, Request, Start, StreamKind};
use super::random::random_bytes;
use super::state::{Name, StateDirectory};
use super::{Clock, Error, Outcome, Session};
use crate::guest_images::Progress;

/// Runs a command in the testbed as if it ran here: with this process's standard streams,
/// forwarding the signals that this process gets. Uses the user's lasting testbed of that kind, or
/// starts one for this command alone.
///
/// To be called from a process's main thread, and while no other thread unblocks signals: they are
/// taken in through a signalfd.
///
/// # Errors
/// The command's own failures are an [`Outcome`]; an error means that it has not run, or not to its
/// end. [`Error::exit_status`] is the status to exit with then.
pub fn run(session: &Session) -> Result<Outcome, Error> {
    let files = files::open_all(&session.writable, &session.inputs)?;
    let state = StateDirectory::open()?;
    let clock = session.machine.clock;
    if let Some(channel) = state.connect(clock)? {
        return run_on(&channel, session, files);
    }
    check_program(session)?;
    let progress = Progress::new("testbed");
    let launched = launch_for_one(&state, session, &progress)?;
    progress.step("the machine boots");
    let outcome = run_with(&launched.channel, session, files, progress);
    launched.end();
    outcome
}

/// In a testbed that does not run yet there can be no program that is not here: better to know
/// before it starts.
fn check_program(session: &Session) -> Result<(), Error> {
    let Some(name) = session.argv.first() else {
        return Err(Error::NotFound("there is no command".into()));
    };
    if std::path::Path::new(name).starts_with(super::PROGRAM) {
        return Ok(());
    }
    let search = session.env.iter().find(|(name, _)| name == "PATH").map(|(_, path)| &**path);
    find_program(name, search).map(drop).map_err(|error| {
        let reason = format!("{}: {error}", name.to_string_lossy());
        match error.kind() {
            ErrorKind::NotFound => Error::NotFound(reason),
            _ => Error::CannotExecute(reason),
        }
    })
}

fn launch_for_one(
    state: &StateDirectory,
    session: &Session,
    progress: &Progress,
) -> Result<Launched, Error> {
    let instance = state.create(Name::Once)?;
    // The name is random and new.
    let instance = instance.ok_or_else(|| Error::Connection(ErrorKind::AlreadyExists.into()))?;
    launch(instance, &session.machine, Lifetime::Ephemeral, progress)
}

fn run_on(channel: &Channel, session: &Session, files: Vec<NamedFile>) -> Result<Outcome, Error> {
    run_with(channel, session, files, Progress::new("testbed"))
}

fn run_with(
    channel: &Channel,
    session: &Session,
    files: Vec<NamedFile>,
    progress: Progress,
) -> Result<Outcome, Error> {
    let (exports, port) = attach(channel, &files)?;
    // The spinner must be gone before the command says something.
    drop(progress);
    let mut port = File::from(port);
    greet(&mut port, channel)?;
    let streams = CallersStreams::take().map_err(Error::Connection)?;
    let start = describe(session, &files, &exports, &streams);
    Relay::new(port, channel, streams, session.machine.clock).run(start)
}

/// Gets a session from the keeper: the numbers of the exports, and the port.
fn attach(channel: &Channel, files: &[NamedFile]) -> Result<(Vec<u64>, OwnedFd), Error> {
    let exports: Vec<Export> = files.iter().map(|file| file.export.clone()).collect();
    let opened: Vec<_> = files.iter().map(|file| file.opened.as_fd()).collect();
    channel.send(&Request::Attach(exports), &opened).map_err(Error::Connection)?;
    match channel.receive().map_err(Error::Connection)? {
        Some((Answer::Attached(exports), mut fds)) if exports.len() == files.len() => {
            let port = fds.pop().ok_or_else(|| Error::Connection(ErrorKind::InvalidData.into()))?;
            Ok((exports, port))
        }
        Some((Answer::Died(reason), _)) => Err(Error::Start { reason }),
        Some((Answer::Refused(reason), _)) => Err(Error::Surroundings(reason)),
        Some(_) => Err(Error::Connection(ErrorKind::InvalidData.into())),
        None => Err(Error::Lost("its keeper has ended".into())),
    }
}

/// Agrees with the agent on where this session's bytes begin.
fn greet(port: &mut File, channel: &Channel) -> Result<(), Error> {
    let mut exchange = || -> io::Result<bool> {
        let mut greeting = Greeting(random_bytes()?);
        greeting.0[..Greeting::MAGIC.len()].copy_from_slice(&Greeting::MAGIC);
        port.write_all(&greeting.0)?;
        let mut seen = Vec::new();
        while !seen.ends_with(&greeting.0) {
            let mut poll = Poll::new();
            poll.add(true, port, true, false);
            poll.add(false, channel, true, false);
            // The port first: what it says last is worth more than that the keeper has ended.
            if !poll.wait(None)?.first().is_some_and(|(of_port, _)| *of_port) {
                return Ok(false);
            }
            let mut byte = [0];
            if port.read(&mut byte)? == 0 {
                return Ok(false);
            }
            seen.push(byte[0]);
            let start = seen.len().saturating_sub(Greeting::LENGTH);
            seen.drain(..start);
        }
        Ok(true)
    };
    match exchange() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::Lost(last_words(channel))),
        Err(error) => Err(Error::Connection(error)),
    }
}

/// What the keeper says about the end of the session, or of the machine.
fn last_words(channel: &Channel) -> String {
    match channel.receive() {
        Ok(Some((Answer::Died(reason) | Answer::Refused(reason), _))) => reason,
        _ => "its keeper has ended".into(),
    }
}

fn describe(
    session: &Session,
    files: &[NamedFile],
    exports: &[u64],
    streams: &CallersStreams,
) -> Start {
    let mut mounts = Vec::new();
    let mut descriptors = Vec::new();
    for (file, export) in files.iter().zip(exports) {
        mounts.extend(file.places.iter().map(|place| Mount {
            export: *export,
            at: place.clone(),
            write: file.export.write,
        }));
        descriptors.extend(file.descriptor.map(|number| (number, *export)));
    }
    let mut kinds = streams.kinds();
    if session.machine.clock == Clock::Instructions {
        // A terminal's line discipline would be counted, and so would input that arrives while
        // the command runs.
        kinds = kinds.map(|kind| match kind {
            StreamKind::Terminal => StreamKind::Pipe,
            other => other,
        });
    }
    Start {
        argv: session.argv.clone(),
        env: session.env.clone(),
        cwd: session.cwd.clone(),
        streams: kinds,
        window: streams.window(),
        mounts,
        descriptors,
        clock: session.machine.clock,
    }
}
