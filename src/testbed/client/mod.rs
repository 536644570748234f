//! The client: a stand-in on the host for a command that runs in the testbed.

mod written;

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use self::written::WrittenFiles;
use super::control::Channel;
use super::error::Error;
use super::files::{self, NamedFile};
use super::lasting::find_lasting;
use super::launch::{Ground, Lifetime, boot, launch};
use super::model::{Clock, Counts, Outcome, Session};
use super::places::{self, Name};
use super::protocol::{Answer, Export, Greeting, Mount, Request, SESSIONS, Start, ToClient};
use super::{image, protocol};
use crate::guest_images::Progress;
use crate::host::find_program;
use crate::random::random_bytes;
use crate::session::host::{CallersStreams, End, Relay, Signals, User};
use crate::session::poll::Poll;
use crate::session::protocol::{Ending, Invocation, NotStarted, StreamKind};
use crate::state::StateDirectory;

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
    if let Some(channel) = find_lasting(&state, session.machine.clock)? {
        return Client { channel: &channel, session, files: &files, from_image: false }.run(None);
    }
    check_program(session)?;
    match run_once(&state, session, &files, false) {
        Err(Error::NoExport(reason)) => {
            // Whoever closed stderr does not want to know.
            let _ = writeln!(
                io::stderr(),
                "duplex: {reason}; using a disk image of what the command needs"
            );
            run_once(&state, session, &files, true)
        }
        other => other,
    }
}

/// Runs the command in a testbed of its own.
fn run_once(
    state: &StateDirectory,
    session: &Session,
    files: &[NamedFile],
    from_image: bool,
) -> Result<Outcome, Error> {
    let progress = Progress::new("testbed");
    boot(&progress, || boot_and_run(state, session, files, from_image, &progress))
}

fn boot_and_run(
    state: &StateDirectory,
    session: &Session,
    files: &[NamedFile],
    from_image: bool,
    progress: &Progress,
) -> Result<Outcome, Error> {
    let instance = places::create(state, Name::Once)?;
    // The name is random and new.
    let instance = instance.ok_or_else(|| Error::Connection(ErrorKind::AlreadyExists.into()))?;
    let ground = if from_image {
        progress.step("making a disk image");
        image::build(&instance.place.stage(), session, files).map(Ground::Image)
    } else {
        Ok(Ground::Export)
    };
    let ground = ground.inspect_err(|_| instance.remove())?;
    let launched = launch(instance, &session.machine, Lifetime::Ephemeral, ground, progress)?;
    progress.step("the machine boots");
    let client = Client { channel: &launched.channel, session, files, from_image };
    let outcome = client.run(Some(progress));
    launched.end();
    outcome
}

/// In a testbed that does not run yet there can be no program that is not here: better to know
/// before it starts.
fn check_program(session: &Session) -> Result<(), Error> {
    let Some(name) = session.argv.first() else {
        return Err(Error::NotFound("there is no command".into()));
    };
    if std::path::Path::new(name).starts_with(protocol::PROGRAM) {
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

/// One command's way through a testbed.
struct Client<'a> {
    channel: &'a Channel,
    session: &'a Session,
    files: &'a [NamedFile],
    from_image: bool,
}

impl Client<'_> {
    fn run(&self, progress: Option<&Progress>) -> Result<Outcome, Error> {
        let (exports, port) = self.attach()?;
        // The spinner must be gone before the command says something.
        if let Some(progress) = progress {
            progress.clear();
        }
        let mut port = File::from(port);
        greet(&mut port, self.channel)?;
        let mut streams = CallersStreams::take().map_err(Error::Connection)?;
        let start = self.describe(&exports, &streams);
        if start.clock == Clock::Instructions || !self.session.reads_input {
            streams.without_input();
        }
        let on_terminal = start.invocation.streams[0] == StreamKind::Terminal;
        let mut machine = RunningMachine {
            channel: self.channel,
            written: WrittenFiles::to(self.files),
            counts: None,
        };
        let signals = Signals::take().map_err(Error::Connection)?;
        let end = Relay::new(port, streams, &mut machine).run(start, on_terminal, signals);
        match end.map_err(Error::Connection)? {
            End::Ended(ending) => {
                machine.written.complete().map_err(Error::Connection)?;
                Ok(Outcome { status: ending.exit_status(), counts: machine.counts })
            }
            End::NotStarted { reason, kind } => Err(match kind {
                NotStarted::NotFound => Error::NotFound(reason),
                NotStarted::CannotExecute => Error::CannotExecute(reason),
                NotStarted::Surroundings => Error::Surroundings(reason),
            }),
            End::Lost => Err(Error::Lost(last_words(self.channel))),
            End::Interrupted(number) => {
                Ok(Outcome { status: Ending::Killed(number).exit_status(), counts: None })
            }
        }
    }

    /// Gets a session from the keeper: the numbers of the exports, and the port.
    fn attach(&self) -> Result<(Vec<u64>, OwnedFd), Error> {
        // An image has the files already, by their numbers here.
        let shown = if self.from_image { &[] } else { self.files };
        let exports: Vec<Export> = shown.iter().map(|file| file.export.clone()).collect();
        let opened: Vec<_> = shown.iter().map(|file| file.opened.as_fd()).collect();
        self.channel.send(&Request::Attach(exports), &opened).map_err(Error::Connection)?;
        let mut answer = self.channel.receive().map_err(Error::Connection)?;
        while let Some((Answer::Busy, _)) = answer {
            log::warn!(
                "{SESSIONS} commands run in the testbed, which are all it can: waiting for one to end"
            );
            answer = self.channel.receive().map_err(Error::Connection)?;
        }
        match answer {
            Some((Answer::Attached(exports), mut fds)) if exports.len() == shown.len() => {
                let invalid = || Error::Connection(ErrorKind::InvalidData.into());
                let port = fds.pop().ok_or_else(invalid)?;
                let numbers = (0..).take(self.files.len()).collect();
                Ok((if self.from_image { numbers } else { exports }, port))
            }
            Some((Answer::NoExport(reason), _)) => Err(Error::NoExport(reason)),
            Some((Answer::Died(reason), _)) => Err(Error::Start { reason }),
            Some((Answer::Hung(reason), _)) => Err(Error::Hung(reason)),
            Some((Answer::Refused(reason), _)) => Err(Error::Surroundings(reason)),
            Some(_) => Err(Error::Connection(ErrorKind::InvalidData.into())),
            None => Err(Error::Lost("its keeper has ended".into())),
        }
    }

    fn describe(&self, exports: &[u64], streams: &CallersStreams) -> Start {
        let mut mounts = Vec::new();
        let mut descriptors = Vec::new();
        for (file, export) in self.files.iter().zip(exports) {
            mounts.extend(file.places.iter().map(|place| Mount {
                export: *export,
                at: place.clone(),
                write: file.export.write,
            }));
            descriptors.extend(file.descriptor.map(|number| (number, *export)));
        }
        let mut kinds = streams.kinds();
        if self.session.machine.clock == Clock::Instructions {
            // A terminal's line discipline would be counted, and so would input that arrives
            // while the command runs.
            kinds = kinds.map(|kind| match kind {
                StreamKind::Terminal => StreamKind::Pipe,
                other => other,
            });
        }
        Start {
            invocation: Invocation {
                argv: self.session.argv.clone(),
                env: self.session.env.clone(),
                cwd: self.session.cwd.clone(),
                streams: kinds,
                window: streams.window(),
            },
            mounts,
            descriptors,
            clock: self.session.machine.clock,
            from_image: self.from_image,
        }
    }
}

/// The machine that a session is in, and what it tells beside the session itself.
struct RunningMachine<'a> {
    channel: &'a Channel,
    written: WrittenFiles<'a>,
    counts: Option<Counts>,
}

impl User for RunningMachine<'_> {
    type Start = Start;
    type Message = ToClient;

    /// The keeper speaks up during a session only when it is over.
    fn end_of_machine(&self) -> Option<BorrowedFd<'_>> {
        Some(self.channel.as_fd())
    }

    fn message(&mut self, message: ToClient) -> io::Result<()> {
        match message {
            ToClient::Written(number) => self.written.begin(number)?,
            ToClient::Counted(counts) => self.counts = Some(counts),
        }
        Ok(())
    }

    fn data(&mut self, data: &[u8]) -> io::Result<()> {
        self.written.add(data)
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
