//! Serves GDB: takes its connections one after the other, and speaks its protocol with each.

use std::convert::Infallible;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use gdbstub::common::Signal;
use gdbstub::conn::Connection;
use gdbstub::stub::state_machine::state::Idle;
use gdbstub::stub::state_machine::{GdbStubStateMachine as State, GdbStubStateMachineInner};
use gdbstub::stub::{DisconnectReason, GdbStub, GdbStubError, MultiThreadStopReason};
use gdbstub::target::ext::breakpoints::WatchKind;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::inferior::{Inferior, Stop};
use super::kvm::Debugger;
use super::listener::{Listener, Stream};
use super::symbols::Segment;
use super::target::{Debugged, tid};
use super::xml::{self, View};
use crate::vm::control::Threads;
use crate::vm::end::{End, EndSlot};

/// The longest packet, in bytes.
const PACKET: usize = 16 << 10;

/// Ctrl-C: the one thing that a debugger can say while the guest runs. For all else it must stand still.
const INTERRUPT: u8 = 3;

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    /// The debugger has gone; the guest is to go on.
    Left,
    /// The debugger wants the machine to end.
    Killed,
    /// The machine has ended.
    Ended,
}

/// How debuggers are served.
pub struct Settings {
    /// Where they connect.
    pub listener: Listener,
    /// The kernel's symbols, as an ELF file; empty where there are none.
    pub symbols: Vec<u8>,
    /// Where the kernel's parts are; empty where nobody knows.
    pub segments: Vec<Segment>,
    /// As what the processors are shown.
    pub view: View,
}

/// What serves debuggers while a machine runs.
pub struct Server {
    debugger: Debugger,
    settings: Settings,
}

/// What a session waits for beside the debugger.
struct Events<'a> {
    /// Readable when a vCPU has stopped.
    stopped: BorrowedFd<'a>,
    /// Readable when the machine has ended.
    ended: BorrowedFd<'a>,
}

impl Server {
    pub(in crate::vm) fn new(debugger: Debugger, settings: Settings) -> Server {
        Server { debugger, settings }
    }

    /// Serves them one after the other until the machine has ended, or one of them ends it.
    pub(in crate::vm) fn serve(self, threads: &Threads, end: &EndSlot) {
        let hooks = self.debugger.hooks();
        // SAFETY: both eventfds live in what is borrowed for longer than this.
        let [stopped, ended] = [hooks.event(), end.declared()]
            .map(|event| unsafe { BorrowedFd::borrow_raw(event.as_raw_fd()) });
        let events = Events { stopped, ended };
        let Settings { listener, symbols, segments, view } = &self.settings;
        let mut inferior = self.debugger.attach(threads, segments);
        loop {
            if ready(&[listener.as_fd(), events.ended]).get(1) == Some(&true) {
                return;
            }
            let Some(stream) = listener.accept() else { continue };
            log::info!("gdb: a debugger has connected");
            inferior.pause();
            let mut guest = Debugged::new(&mut inferior, symbols, xml::description(*view));
            let session = session(stream, &mut guest, &events);
            log::info!("gdb: the debugger has gone ({session:?})");
            match session {
                Session::Left => inferior.release(),
                Session::Killed => return end.declare(End::Quit),
                Session::Ended => return,
            }
        }
    }
}

/// A connection, its output collected until a packet is complete.
struct Wire<W: Write>(BufWriter<W>);

impl<W: Write> Connection for Wire<W> {
    type Error = io::Error;

    fn write(&mut self, byte: u8) -> io::Result<()> {
        self.0.write_all(&[byte])
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

type Broken = GdbStubError<Infallible, io::Error>;

/// A debugger's session: it finds the guest standing still.
fn session(stream: Stream, guest: &mut Debugged<'_>, events: &Events<'_>) -> Session {
    let mut input = match stream.as_fd().try_clone_to_owned() {
        Ok(fd) => std::fs::File::from(fd),
        Err(_) => return Session::Left,
    };
    let wire = Wire(BufWriter::new(stream));
    let Ok(stub) = GdbStub::builder(wire).packet_buffer_size(PACKET).build() else {
        return Session::Left;
    };
    let session =
        stub.run_state_machine(guest).and_then(|state| exchange(state, guest, &mut input, events));
    session.unwrap_or_else(|error| {
        log::debug!("gdb: {error}");
        Session::Left
    })
}

/// Hands a guest that is not there to a debugger that says this and goes: for tests with hostile packets.
pub fn feed(inferior: &mut dyn Inferior, symbols: &[u8], view: View, bytes: &[u8]) {
    let mut guest = Debugged::new(inferior, symbols, xml::description(view));
    let wire = Wire(BufWriter::new(io::sink()));
    let Ok(stub) = GdbStub::builder(wire).packet_buffer_size(PACKET).build() else { return };
    let Ok(mut state) = stub.run_state_machine(&mut guest) else { return };
    for byte in bytes {
        let next = match state {
            State::Idle(state) => hear(state, &mut guest, *byte),
            State::Running(state) => match guest.inferior.stopped() {
                Some((cpu, stop)) => state.report_stop(&mut guest, reason(cpu, stop)),
                None if *byte == INTERRUPT => state.incoming_data(&mut guest, *byte),
                None => Ok(State::Running(state)),
            },
            State::CtrlCInterrupt(state) => {
                guest.inferior.pause();
                state.interrupt_handled(&mut guest, Some(interrupted()))
            }
            State::Disconnected(_) => return,
        };
        match next {
            Ok(next) => state = next,
            Err(_) => return,
        }
    }
}

/// Takes a byte while the guest stands still. Ctrl-C is nothing then: the stub would keep it, and tell of it as a stop
/// when the guest has been made to run, and runs.
fn hear<'a, 'g, W: Write>(
    state: GdbStubStateMachineInner<'a, Idle<Debugged<'g>>, Debugged<'g>, Wire<W>>,
    guest: &mut Debugged<'g>,
    byte: u8,
) -> Result<State<'a, Debugged<'g>, Wire<W>>, Broken> {
    match state.incoming_data(guest, byte)? {
        State::CtrlCInterrupt(state) => {
            state.interrupt_handled(guest, None::<MultiThreadStopReason<u64>>)
        }
        other => Ok(other),
    }
}

/// A debugger's Ctrl-C has stopped it.
fn interrupted() -> MultiThreadStopReason<u64> {
    MultiThreadStopReason::SignalWithThread { tid: tid(0), signal: Signal::SIGINT }
}

fn exchange<'g, W: Write>(
    mut state: State<'_, Debugged<'g>, Wire<W>>,
    guest: &mut Debugged<'g>,
    input: &mut std::fs::File,
    events: &Events<'_>,
) -> Result<Session, Broken> {
    let mut pending = Vec::new();
    loop {
        state = match state {
            State::Disconnected(state) => {
                return Ok(match state.get_reason() {
                    DisconnectReason::Kill => Session::Killed,
                    DisconnectReason::Disconnect => Session::Left,
                    DisconnectReason::TargetExited(_) | DisconnectReason::TargetTerminated(_) => {
                        Session::Ended
                    }
                });
            }
            State::CtrlCInterrupt(state) => {
                guest.inferior.pause();
                state.interrupt_handled(guest, Some(interrupted()))?
            }
            State::Idle(state) if !pending.is_empty() => hear(state, guest, next(&mut pending))?,
            State::Running(state) if !pending.is_empty() => match next(&mut pending) {
                INTERRUPT => state.incoming_data(guest, INTERRUPT)?,
                _ => State::Running(state),
            },
            State::Idle(state) => {
                let ready = ready(&[input.as_fd(), events.ended]);
                if ready.get(1) == Some(&true) {
                    return Ok(Session::Ended);
                }
                if !receive(input, &mut pending) {
                    return Ok(Session::Left);
                }
                State::Idle(state)
            }
            State::Running(state) => {
                let ready = ready(&[input.as_fd(), events.ended, events.stopped]);
                if ready.get(1) == Some(&true) {
                    state.report_stop(guest, MultiThreadStopReason::Exited(0))?
                } else if ready.get(2) == Some(&true) {
                    match guest.inferior.stopped() {
                        Some((cpu, stop)) => state.report_stop(guest, reason(cpu, stop))?,
                        None => State::Running(state),
                    }
                } else if receive(input, &mut pending) {
                    State::Running(state)
                } else {
                    return Ok(Session::Left);
                }
            }
        }
    }
}

fn reason(cpu: usize, stop: Stop) -> MultiThreadStopReason<u64> {
    let tid = tid(cpu);
    match stop {
        Stop::Step => MultiThreadStopReason::SignalWithThread { tid, signal: Signal::SIGTRAP },
        Stop::Code => MultiThreadStopReason::SwBreak(tid),
        Stop::Register => MultiThreadStopReason::HwBreak(tid),
        Stop::Store(addr) => MultiThreadStopReason::Watch { tid, kind: WatchKind::Write, addr },
    }
}

/// The next byte of what was received; it is kept in reverse.
fn next(pending: &mut Vec<u8>) -> u8 {
    pending.pop().unwrap_or_default()
}

/// Reads what is there; `false`: the debugger has gone.
fn receive(input: &mut std::fs::File, pending: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    match input.read(&mut buffer) {
        Ok(0) => false,
        Ok(count) => {
            pending.extend(buffer.iter().take(count).rev());
            true
        }
        Err(error) => error.kind() == io::ErrorKind::Interrupted,
    }
}

/// Waits until one of these can be read, and says which can.
fn ready(fds: &[BorrowedFd<'_>]) -> Vec<bool> {
    let mut wait: Vec<_> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    match poll(&mut wait, PollTimeout::NONE) {
        Ok(_) => wait.iter().map(|fd| fd.any() == Some(true)).collect(),
        Err(_) => vec![false; fds.len()],
    }
}
