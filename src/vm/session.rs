//! Runs a machine to its end: one event loop for its console, the signals and a look at its vCPUs
//! now and then.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::rc::Rc;
use std::thread;

use event_manager::{EventManager, EventOps, EventSet, Events, MutEventSubscriber, SubscriberOps};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use serde::{Deserialize, Serialize};
use vmm_sys_util::eventfd::EventFd;

use super::boot::load::Loaded;
use super::console::{Asked, Console};
use super::control::Threads;
use super::end::{End, EndSlot, Failure};
use super::halt::HaltWatch;
use super::huge_pages::AfterBoot;
use super::machine::{self, Machine, SerialLine};
use super::output::Output;
use super::sampler::Sampler;
use super::watch::watch;
use crate::trace::boot::{Phase, Recorder};
use crate::trace::exits::ExitCounts;

/// How long, in milliseconds, output may take to be written after the user asked to quit.
const IMPATIENCE: u16 = 200;

/// The signals that a session takes: blocked while this lives, so that threads that are started in
/// the meantime have them blocked too, and read from a file descriptor.
pub struct Signals {
    fd: SignalFd,
    before: SigSet,
}

impl Signals {
    /// Blocks and takes the signals that end or stop a session.
    ///
    /// # Errors
    /// No file descriptor left.
    pub fn take() -> io::Result<Signals> {
        let mut taken = SigSet::empty();
        for signal in [
            Signal::SIGTERM,
            Signal::SIGINT,
            Signal::SIGHUP,
            Signal::SIGQUIT,
            Signal::SIGTSTP,
            Signal::SIGCONT,
            Signal::SIGWINCH,
        ] {
            taken.add(signal);
        }
        let mut before = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&taken), Some(&mut before))?;
        let fd = SignalFd::with_flags(&taken, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Signals { fd, before })
    }

    /// The next signal that came, if any.
    fn next(&self) -> Option<Signal> {
        let info = self.fd.read_signal().ok().flatten()?;
        i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok())
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // Cannot fail: the mask came from the kernel.
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}

/// How a session went.
#[derive(Debug)]
pub struct Outcome {
    /// Why it ended.
    pub end: End,
    /// What was counted.
    pub figures: Figures,
}

/// What a machine has counted.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Figures {
    /// How often the guest left to the VMM.
    pub exits: ExitCounts,
    /// Accesses that found neither memory nor a device.
    pub unclaimed: u64,
    /// How kernel and initrd came into memory.
    pub loaded: Loaded,
}

/// Runs `machine` until it ends, with `console` attached.
///
/// # Errors
/// The host has no thread left to run it.
pub fn run(
    machine: Machine,
    console: &mut Console,
    signals: &Signals,
    recorder: &Recorder,
) -> Result<Outcome, machine::Error> {
    console.connect(machine.control());
    run_machine(machine, Some((console, signals)), recorder)
}

/// The same, with or without somebody at the console.
pub(super) fn run_machine(
    mut machine: Machine,
    attended: Option<(&mut Console, &Signals)>,
    recorder: &Recorder,
) -> Result<Outcome, machine::Error> {
    let threads = machine.start()?;
    let samples = recorder.tracer().and_then(|tracer| tracer.samples());
    let debugger = machine.take_debugger();
    thread::scope(|scope| {
        if let Some(debugger) = debugger {
            let (threads, end) = (&threads, machine.end());
            scope.spawn(move || debugger.serve(threads, end));
        }
        if let Err(error) = event_loop(&machine, &threads, attended, samples) {
            machine.end().declare(End::Failed(Failure::EventLoop(error.to_string())));
        }
    });
    let exits = threads.stop();
    machine.stop_devices();
    recorder.reached(Phase::End);
    let end = machine.end().take().unwrap_or(End::Quit);
    let figures = Figures { exits, unclaimed: machine.unclaimed(), loaded: machine.loaded };
    Ok(Outcome { end, figures })
}

/// Waits until all output was written; after a quit or signal only for a moment, and never beyond
/// a further signal.
pub fn finish(console: &Console, signals: &Signals, end: &End) {
    let patience = match end {
        End::Quit | End::Signal(_) => PollTimeout::from(IMPATIENCE),
        _ => PollTimeout::NONE,
    };
    console.outputs().for_each(Output::close);
    for output in console.outputs() {
        if !drained(output, signals, patience) {
            break;
        }
    }
}

/// Waits until an output was written; `false`: no longer.
fn drained(output: &Output, signals: &Signals, patience: PollTimeout) -> bool {
    // SAFETY: the eventfd lives in `output`, which is borrowed for longer than this call.
    let drained = unsafe { BorrowedFd::borrow_raw(output.drained().as_raw_fd()) };
    loop {
        let mut wait = [
            PollFd::new(drained, PollFlags::POLLIN),
            PollFd::new(signals.fd.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut wait, patience) {
            Err(nix::errno::Errno::EINTR) => continue,
            Err(_) | Ok(0) => return false,
            Ok(_) if wait.first().and_then(PollFd::any) == Some(true) => return true,
            // That a window has changed ends nothing.
            Ok(_) if signals.next().is_none_or(|signal| signal == Signal::SIGWINCH) => {}
            Ok(_) => return false,
        }
    }
}

fn event_loop(
    machine: &Machine,
    threads: &Threads,
    attended: Option<(&mut Console, &Signals)>,
    samples: Option<u32>,
) -> Result<(), Box<dyn std::error::Error>> {
    let finished = Rc::new(Cell::new(false));
    let mut manager: EventManager<Box<dyn MutEventSubscriber + '_>> = EventManager::new()?;
    let end = machine.end();
    manager.add_subscriber(Box::new(EndWatch { end, finished: finished.clone() }));
    for (fd, failure) in machine.failures() {
        manager.add_subscriber(Box::new(FailureWatch { fd, failure, end }));
    }
    if let Some((console, signals)) = attended {
        let serial = machine.serial.as_ref();
        let events = ConsoleEvents { console, serial, signals, end, reading: false };
        manager.add_subscriber(Box::new(events));
    }
    manager.add_subscriber(Box::new(HaltWatch::new(threads, end)?));
    if let Some(rate) = samples {
        manager.add_subscriber(Box::new(Sampler::new(threads, rate)?));
    }
    manager.add_subscriber(Box::new(AfterBoot::new(machine.memory())?));
    while !finished.get() {
        match manager.run() {
            Ok(_) => {}
            Err(event_manager::Error::Epoll(errno)) if errno.errno() == libc::EINTR => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Ends the loop when the end was declared.
struct EndWatch<'a> {
    end: &'a EndSlot,
    finished: Rc<Cell<bool>>,
}

impl MutEventSubscriber for EndWatch<'_> {
    fn init(&mut self, ops: &mut EventOps) {
        watch(ops, self.end.declared().as_raw_fd());
    }

    fn process(&mut self, _events: Events, _ops: &mut EventOps) {
        self.finished.set(true);
    }
}

/// Declares the end when something failed that no vCPU would notice.
struct FailureWatch<'a> {
    fd: &'a EventFd,
    failure: fn() -> Failure,
    end: &'a EndSlot,
}

impl MutEventSubscriber for FailureWatch<'_> {
    fn init(&mut self, ops: &mut EventOps) {
        watch(ops, self.fd.as_raw_fd());
    }

    fn process(&mut self, _events: Events, _ops: &mut EventOps) {
        // So that the loop comes to its end, which was declared first perhaps.
        let _ = self.fd.read();
        self.end.declare(End::Failed((self.failure)()));
    }
}

/// Console input and the signals, which change who owns the terminal.
struct ConsoleEvents<'a> {
    console: &'a mut Console,
    serial: Option<&'a SerialLine>,
    signals: &'a Signals,
    end: &'a EndSlot,
    /// Whether the event loop waits for stdin now.
    reading: bool,
}

impl ConsoleEvents<'_> {
    /// Feeds the guest, reads what needs no waiting, and waits for stdin exactly while more can be
    /// taken.
    fn pump(&mut self, ops: &mut EventOps) {
        let Some((input, line)) = self.console.input_and_line(self.serial) else { return };
        loop {
            input.feed(line);
            if input.is_pollable() || !input.wants_more() {
                break;
            }
            let _ = input.read();
        }
        let wanted = input.is_pollable() && input.wants_more();
        if wanted != self.reading {
            let stdin = Events::new_raw(input.as_raw_fd(), EventSet::IN);
            let changed = if wanted { ops.add(stdin) } else { ops.remove(stdin) };
            if let Err(error) = changed {
                log::warn!("console: stdin cannot be watched: {error}");
            }
            self.reading = wanted;
        }
    }

    fn signal(&mut self, signal: Signal) {
        match signal {
            Signal::SIGTSTP => {
                if let Some(input) = self.console.input() {
                    input.suspend();
                }
                // Stops the whole process, vCPUs too. SIGCONT comes through the file descriptor.
                let _ = raise(Signal::SIGSTOP);
            }
            Signal::SIGCONT => {
                if let Some(input) = self.console.input() {
                    input.resume();
                }
                self.console.measure_window();
            }
            Signal::SIGWINCH => self.console.measure_window(),
            other => self.end.declare(End::Signal(other as i32)),
        }
    }
}

impl MutEventSubscriber for ConsoleEvents<'_> {
    fn init(&mut self, ops: &mut EventOps) {
        watch(ops, self.signals.fd.as_raw_fd());
        if let Some(line) = self.console.line(self.serial) {
            watch(ops, line.room().as_raw_fd());
        }
        self.pump(ops);
    }

    fn process(&mut self, events: Events, ops: &mut EventOps) {
        if events.fd() == self.signals.fd.as_raw_fd() {
            while let Some(signal) = self.signals.next() {
                self.signal(signal);
            }
        } else if let Some(line) = self.console.line(self.serial)
            && events.fd() == line.room().as_raw_fd()
        {
            // Only a wake-up: how often it was rung does not matter.
            let _ = line.room().read();
        } else if let Some(input) = self.console.input()
            && input.read() == Asked::Quit
        {
            self.end.declare(End::Quit);
        }
        self.pump(ops);
    }
}
