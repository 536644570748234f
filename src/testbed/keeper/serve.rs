//! The keeper's life: clients come and go, the machine runs or has stopped.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::sys::wait::WaitStatus;

use super::clients::{Client, Wish};
use super::machine::{self, Problem, RunningMachine, Supplies};
use super::ports::Ports;
use super::{Inheritance, Orders};
use crate::console_log::ConsoleLog;
use crate::isolate;
use crate::session::children::next_change;
use crate::session::poll::{Poll, Ready};
use crate::state;
use crate::testbed::control::accept;
use crate::testbed::model::Clock;
use crate::testbed::protocol::{Answer, Notice, PULSE, Request, SESSIONS, Status};

/// How long a keeper whose machine has stopped stays to tell why, should nobody ask.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// How long the machine may be silent before it is up: that takes 5 s on an idle host.
const PATIENCE: Duration = Duration::from_secs(100);

/// How long a machine that is up may give no sign of life. PID 1 there gives one every [`PULSE`], on a
/// busy host somewhat later.
const SILENCE: Duration = Duration::from_secs(6 * PULSE.as_secs());

/// The most clients at once: some that wait beside all that run.
const MAX_CLIENTS: usize = 4 * SESSIONS;

/// Starts the machine and serves clients until the testbed ends.
pub(super) fn run(orders: Orders, inheritance: Inheritance) {
    let Inheritance { listener, lock, kernel, initramfs, lifeline, disk, .. } = inheritance;
    let supplies = Supplies { kernel, initramfs, disk };
    let state = match machine::start(&orders, supplies) {
        Ok(machine) => State::Starting(machine),
        Err(problem) => State::Stopped { answer: answer_for(problem), told: false },
    };
    let mut keeper = Keeper {
        orders,
        listener,
        lifeline,
        state,
        release: String::new(),
        log: ConsoleLog::default(),
        ports: Ports::new(),
        clients: Vec::new(),
        heard: Instant::now(),
        ending: false,
    };
    while !keeper.is_done() {
        if let Err(error) = keeper.turn() {
            keeper.stop(Answer::Died(format!("the keeper cannot go on: {error}")));
        }
    }
    // Whoever waits for the lock finds nothing left. What can't be removed here is swept by the
    // next command.
    let directory = keeper.orders.directory.clone();
    if keeper.orders.virtiofsd.is_some() {
        let _ = isolate::detach(&directory.join("work"));
    }
    let _ = state::remove(&directory);
    drop(lock);
}

enum State {
    /// The machine runs, and the agent is not ready.
    Starting(RunningMachine),
    /// Commands can run.
    Up(RunningMachine),
    /// The machine has stopped or could not be started.
    Stopped { answer: Answer, told: bool },
}

struct Keeper {
    orders: Orders,
    listener: OwnedFd,
    lifeline: OwnedFd,
    state: State,
    release: String,
    log: ConsoleLog,
    ports: Ports,
    clients: Vec<Client>,
    /// When the agent was last heard.
    heard: Instant,
    ending: bool,
}

#[derive(Clone, Copy)]
enum Source {
    Listener,
    Lifeline,
    Log,
    Notices,
    Emulator,
    Server(usize),
    Client(usize),
}

impl Keeper {
    fn is_done(&self) -> bool {
        let told = matches!(self.state, State::Stopped { told: true, .. });
        self.ending || (told && self.clients.is_empty())
    }

    /// Waits for something to happen and deals with it.
    fn turn(&mut self) -> io::Result<()> {
        let limit = match self.state {
            State::Starting(_) => Some(PATIENCE),
            State::Up(_) => self.patience(),
            State::Stopped { .. } => Some(LAST_WORDS),
        };
        let events = self.wait(limit)?;
        if events.is_empty() {
            match self.state {
                State::Starting(_) => {
                    let silence = PATIENCE.as_secs();
                    let reason = format!("the machine has said nothing for {silence} s");
                    self.stop(Answer::Hung(reason));
                }
                State::Up(_) => {
                    let silence = self.heard.elapsed().as_secs();
                    let reason =
                        format!("the emulated machine hangs: no sign of life for {silence} s");
                    self.stop(Answer::Died(reason));
                }
                State::Stopped { .. } => self.ending = true,
            }
        }
        for (source, ready) in events {
            match source {
                Source::Listener => self.accept()?,
                Source::Lifeline => self.ending = true,
                Source::Log => self.read_log()?,
                Source::Notices => self.read_notices()?,
                Source::Emulator => self.machine_stopped()?,
                Source::Server(index) => self.server_stopped(index)?,
                Source::Client(index) => self.client_spoke(index, ready)?,
            }
        }
        self.clients.retain(|client| !client.is_done());
        self.grant_wishes()
    }

    /// How much longer the machine, which is up, may be silent; for ever if it need not speak.
    fn patience(&self) -> Option<Duration> {
        let speaks = self.orders.machine.clock == Clock::Wall;
        speaks.then(|| SILENCE.saturating_sub(self.heard.elapsed()))
    }

    fn machine(&self) -> Option<&RunningMachine> {
        match &self.state {
            State::Starting(machine) | State::Up(machine) => Some(machine),
            State::Stopped { .. } => None,
        }
    }

    fn machine_mut(&mut self) -> Option<&mut RunningMachine> {
        match &mut self.state {
            State::Starting(machine) | State::Up(machine) => Some(machine),
            State::Stopped { .. } => None,
        }
    }

    fn wait(&self, limit: Option<Duration>) -> io::Result<Vec<(Source, Ready)>> {
        let mut poll = Poll::new();
        if self.clients.len() < MAX_CLIENTS {
            poll.add(Source::Listener, &self.listener, true, false);
        }
        if self.orders.ephemeral {
            poll.add(Source::Lifeline, &self.lifeline, true, false);
        }
        if let Some(machine) = self.machine() {
            poll.add(Source::Log, &machine.output, true, false);
            poll.add(Source::Notices, machine.notices.file(), true, false);
            poll.add(Source::Emulator, &machine.emulator, true, false);
            for (index, server) in machine.servers.iter().enumerate() {
                poll.add(Source::Server(index), server, true, false);
            }
        }
        for (index, client) in self.clients.iter().enumerate() {
            poll.add(Source::Client(index), &client.channel, true, false);
        }
        poll.wait(limit)
    }

    fn accept(&mut self) -> io::Result<()> {
        if let Some(channel) = accept(&self.listener)? {
            self.clients.push(Client::new(channel));
        }
        Ok(())
    }

    /// A client has made its request, or has gone.
    fn client_spoke(&mut self, index: usize, ready: Ready) -> io::Result<()> {
        if !ready.readable() {
            return Ok(());
        }
        let client = &mut self.clients[index];
        let request = match (&client.wish, client.channel.receive()) {
            (Wish::Unknown, Ok(Some(request))) => request,
            // Gone, or it has said something out of turn: either way it gets no more.
            _ => {
                self.dismiss(index);
                return Ok(());
            }
        };
        let (request, mut fds): (Request, _) = request;
        self.clients[index].wish = match request {
            Request::Wait => Wish::Ready,
            Request::Attach(exports) if exports.len() == fds.len() => {
                let files = exports.into_iter().zip(fds.drain(..)).collect();
                Wish::Session { files, told: false }
            }
            Request::Attach(_) => Wish::Nothing,
            Request::Stop => {
                self.ending = true;
                Wish::End
            }
            Request::Status => {
                let status = Answer::Status(Status {
                    machine: self.orders.machine.clone(),
                    kernel: self.release.clone(),
                    sessions: self.clients.iter().filter(|client| client.is_running()).count(),
                    build: self.orders.build.clone(),
                });
                self.clients[index].tell(&status);
                Wish::Nothing
            }
        };
        Ok(())
    }

    /// Ends what a client had.
    fn dismiss(&mut self, index: usize) {
        let wish = std::mem::replace(&mut self.clients[index].wish, Wish::Nothing);
        if let Wish::Running { port, exports } = wish {
            self.ports.release(port);
            if let Some(machine) = self.machine_mut() {
                machine.withdraw(exports);
            }
        }
    }

    /// Answers whoever can be answered now.
    fn grant_wishes(&mut self) -> io::Result<()> {
        for index in 0..self.clients.len() {
            match (&self.state, &self.clients[index].wish) {
                (State::Up(_), Wish::Ready) => {
                    self.clients[index].tell(&Answer::Ready);
                    self.clients[index].wish = Wish::News;
                }
                (State::Up(_), Wish::Session { told, .. }) => {
                    if let Some(port) = self.ports.idle() {
                        self.start_session(index, port);
                    } else if !told && self.ports.are_all_taken() {
                        self.clients[index].is_to_wait();
                    }
                }
                (
                    State::Stopped { answer, .. },
                    Wish::Ready | Wish::News | Wish::Session { .. } | Wish::Running { .. },
                ) => {
                    self.clients[index].tell(answer);
                    self.clients[index].wish = Wish::Nothing;
                    if let State::Stopped { told, .. } = &mut self.state {
                        *told = true;
                    }
                }
                _ => {}
            }
        }
        self.clients.retain(|client| !client.is_done());
        Ok(())
    }

    fn start_session(&mut self, index: usize, port: usize) {
        let wish = std::mem::replace(&mut self.clients[index].wish, Wish::Nothing);
        let (Wish::Session { files, .. }, Some(machine)) = (wish, self.machine_mut()) else {
            return;
        };
        let opened = machine.open_session(port, files);
        let client = &mut self.clients[index];
        match opened {
            Ok((connection, exports)) => {
                client.hand_over(&Answer::Attached(exports.clone()), &connection);
                client.wish = Wish::Running { port, exports };
                self.ports.take(port);
            }
            Err(reason) => client.tell(&Answer::Refused(reason)),
        }
    }

    fn read_log(&mut self) -> io::Result<()> {
        let (State::Starting(machine) | State::Up(machine)) = &mut self.state else {
            return Ok(());
        };
        self.log.read(&mut machine.output).map(drop)
    }

    fn read_notices(&mut self) -> io::Result<()> {
        let Some(machine) = self.machine_mut() else { return Ok(()) };
        match machine.notices.read() {
            // QEMU closes its end when it ends.
            Ok(None) => self.machine_stopped()?,
            Ok(Some(notices)) => notices.into_iter().for_each(|notice| self.heed(notice)),
            Err(error) => self.stop(Answer::Died(format!("its agent can't be heard: {error}"))),
        }
        Ok(())
    }

    fn heed(&mut self, notice: Notice) {
        self.heard = Instant::now();
        match notice {
            Notice::Alive => {}
            Notice::Ready(release) => {
                self.release = release.chars().filter(|c| c.is_ascii_graphic()).take(64).collect();
                let nothing = Answer::Died(String::new());
                let stopped = State::Stopped { answer: nothing, told: false };
                self.state = match std::mem::replace(&mut self.state, stopped) {
                    State::Starting(machine) => State::Up(machine),
                    other => other,
                };
            }
            Notice::Idle(port) => {
                if self.ports.ready(port) {
                    self.session_broke(port);
                }
            }
            Notice::Failed(reason) => self.stop(Answer::Died(reason)),
        }
    }

    /// The agent has closed a session that its client is still in.
    fn session_broke(&mut self, port: usize) {
        if let Some(index) = self.clients.iter().position(|client| client.is_on(port)) {
            let answer = Answer::Refused("the testbed's session ended by itself".into());
            self.clients[index].tell(&answer);
            self.dismiss(index);
            self.ports.ready(port);
        }
    }

    /// QEMU has ended, or is about to.
    fn machine_stopped(&mut self) -> io::Result<()> {
        let how = self.machine().map(RunningMachine::how_it_ended).unwrap_or_default();
        let last_lines = self.last_lines()?;
        self.stop(Answer::Died(format!("the emulated machine {how}{last_lines}")));
        Ok(())
    }

    /// A file server has ended. One that fails before the machine is up can't run here; one that
    /// ends in peace does so because QEMU has.
    fn server_stopped(&mut self, index: usize) -> io::Result<()> {
        let Some(machine) = self.machine() else { return Ok(()) };
        let status = machine.servers[index].wait()?;
        if status == WaitStatus::Exited(machine.servers[index].pid(), 0) {
            return self.machine_stopped();
        }
        let last_lines = self.last_lines()?;
        let reason = format!("virtiofsd has failed{last_lines}");
        self.stop(match self.state {
            State::Starting(_) => Answer::NoExport(reason),
            _ => Answer::Died(reason),
        });
        Ok(())
    }

    fn last_lines(&mut self) -> io::Result<String> {
        self.read_log()?;
        Ok(match self.log.last_lines().as_str() {
            "" => " without a word".into(),
            lines => format!(":\n{lines}"),
        })
    }

    fn stop(&mut self, answer: Answer) {
        if matches!(self.state, State::Stopped { .. }) {
            return;
        }
        self.state = State::Stopped { answer, told: false };
        // As PID 1 of a namespace, or as the parent of those that end with us.
        while let Ok(Some(_)) = next_change() {}
    }
}

fn answer_for(problem: Problem) -> Answer {
    match problem {
        Problem::Export(failure) => Answer::NoExport(failure.to_string()),
        Problem::Machine(failure) => Answer::Died(failure.to_string()),
    }
}
