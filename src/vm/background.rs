//! A machine that runs on a thread of its own, with nobody at its console: what it prints is kept, as
//! far as it may be of use when it has failed.

use std::fs::File;
use std::io::{self, PipeReader};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::end::{End, EndSlot};
use super::machine::{self, Machine};
use super::output::Output;
use super::session::{self, Outcome};
use crate::console_log::ConsoleLog;
use crate::trace::boot::Recorder;

/// The serial console's output, and a thread that keeps the newest of it.
pub struct KeptOutput {
    output: Output,
    keeper: JoinHandle<ConsoleLog>,
}

impl KeptOutput {
    /// Starts keeping.
    ///
    /// # Errors
    /// No file descriptor or thread left.
    pub fn new() -> io::Result<KeptOutput> {
        let (reader, writer) = io::pipe()?;
        let output = Output::new(File::from(OwnedFd::from(writer)))?;
        let keeper = thread::Builder::new().name("last-words".into());
        Ok(KeptOutput { output, keeper: keeper.spawn(move || keep(reader))? })
    }

    /// Where the machine's output goes.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// The last lines, once the machine has ended.
    pub fn last_lines(self) -> String {
        // The writer ends once it has written all, and then so does the pipe.
        self.output.close();
        self.keeper.join().map(|log| log.last_lines()).unwrap_or_default()
    }
}

fn keep(mut from: PipeReader) -> ConsoleLog {
    let mut log = ConsoleLog::default();
    while let Ok(true) = log.read(&mut from) {}
    log
}

/// Declares the machine's end when it is dropped; to no effect where that has been done.
struct DeclaredEnd(Arc<EndSlot>);

impl Drop for DeclaredEnd {
    fn drop(&mut self) {
        self.0.declare(End::Quit);
    }
}

/// A machine that runs.
pub struct Background {
    thread: JoinHandle<Result<Outcome, machine::Error>>,
    end: Arc<EndSlot>,
}

impl Background {
    /// Starts the machine. Signals that are not for its threads have to be blocked by now.
    ///
    /// # Errors
    /// No thread left.
    pub fn start(machine: Machine, recorder: Arc<Recorder>) -> io::Result<Background> {
        let end = machine.end_handle();
        let ended = DeclaredEnd(end.clone());
        let run = move || {
            // Dropped however this ends: also without threads for the vCPUs, or in a panic.
            let _ended = ended;
            session::run_machine(machine, None, &recorder)
        };
        let thread = thread::Builder::new().name("machine".into()).spawn(run)?;
        Ok(Background { thread, end })
    }

    /// Readable once the machine has ended.
    pub fn ended(&self) -> BorrowedFd<'_> {
        // SAFETY: the eventfd lives in the slot, which is borrowed for as long.
        unsafe { BorrowedFd::borrow_raw(self.end.declared().as_raw_fd()) }
    }

    /// Ends the machine, if it has not ended; tells how.
    ///
    /// # Errors
    /// It could not be started, or its thread panicked.
    pub fn stop(self) -> Result<Outcome, Box<dyn std::error::Error>> {
        self.end.declare(End::Quit);
        match self.thread.join() {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err("the machine's thread panicked: this is a bug in duplex".into()),
        }
    }
}
