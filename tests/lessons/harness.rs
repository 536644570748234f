//! Runs a few instructions as a guest and writes down what they did.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use duplex::trace::boot::Recorder;
use duplex::trace::exits::ExitCounts;
use duplex::vm::boot::plan::{Entry, Piece, Plan};
use duplex::vm::console::Console;
use duplex::vm::control::Threads;
use duplex::vm::devices::virtio::VirtioDevice;
use duplex::vm::devices::{Action, PortDevice};
use duplex::vm::end::End;
use duplex::vm::kvm;
use duplex::vm::layout::{MIB, Ports};
use duplex::vm::machine::Machine;
use duplex::vm::output::Output;
use duplex::vm::session::{self, Signals};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::common::has_kvm;

/// Where the probe answers: ports that the machine has nothing at.
pub(crate) const PROBE: Ports = Ports { start: 0x10, count: 8 };

/// An access to the probe: offset, and what was written or how much was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read(u16, usize),
    Write(u16, Vec<u8>),
}

/// What was written down, and the news that there is more of it.
#[derive(Default)]
struct Record {
    accesses: Mutex<Vec<Access>>,
    more: Condvar,
}

impl Record {
    fn push(&self, access: Access) {
        self.accesses.lock().unwrap().push(access);
        self.more.notify_all();
    }

    fn so_far(&self) -> Vec<Access> {
        self.accesses.lock().unwrap().clone()
    }
}

/// Writes down every access; a read gives the offset.
struct Probe(Arc<Record>);

impl PortDevice for Probe {
    fn read(&mut self, offset: u16, data: &mut [u8]) {
        self.0.push(Access::Read(offset, data.len()));
        data.fill(u8::try_from(offset).unwrap());
    }

    fn write(&mut self, offset: u16, data: &[u8]) -> Action {
        self.0.push(Access::Write(offset, data.to_vec()));
        Action::Continue
    }
}

/// A guest to be run.
pub(crate) struct Guest {
    code: &'static [u8],
    entry: Entry,
    cpus: u8,
    memory: u64,
    serial: Option<(OwnedFd, OwnedFd)>,
    read_serial: bool,
    stop_after: Option<Duration>,
    devices: Vec<Box<dyn VirtioDevice>>,
}

/// What a guest did.
pub(crate) struct Run {
    pub(crate) end: End,
    pub(crate) exits: ExitCounts,
    pub(crate) accesses: Vec<Access>,
    pub(crate) unclaimed: u64,
    pub(crate) output: Vec<u8>,
}

impl Guest {
    pub(crate) fn new(code: &'static [u8], entry: Entry) -> Guest {
        Guest {
            code,
            entry,
            cpus: 1,
            memory: 32 * MIB,
            serial: None,
            read_serial: false,
            stop_after: None,
            devices: Vec::new(),
        }
    }

    pub(crate) fn cpus(self, cpus: u8) -> Guest {
        Guest { cpus, ..self }
    }

    pub(crate) fn memory(self, memory: u64) -> Guest {
        Guest { memory, ..self }
    }

    /// With a virtio device, in the next slot.
    pub(crate) fn device(mut self, device: Box<dyn VirtioDevice>) -> Guest {
        self.devices.push(device);
        self
    }

    /// With a serial port whose output is read.
    pub(crate) fn serial(self) -> Guest {
        Guest { serial: Some(nix::unistd::pipe().unwrap()), read_serial: true, ..self }
    }

    /// With a serial port into a pipe of 4 KiB that nobody reads.
    pub(crate) fn serial_nobody_reads(self) -> Guest {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
        Guest { serial: Some((reader, writer)), ..self }
    }

    /// Ends it from outside after that time, as a person would.
    pub(crate) fn stop_after(self, time: Duration) -> Guest {
        Guest { stop_after: Some(time), ..self }
    }

    fn plan(&self) -> Plan {
        let mut kernel = File::from(memfd_create("lesson", MFdFlags::MFD_CLOEXEC).unwrap());
        kernel.write_all(self.code).unwrap();
        let gpa = match self.entry {
            Entry::Real(ip) => ip.into(),
            Entry::Pvh(rip) => rip.into(),
            Entry::Linux64(rip) => rip,
        };
        Plan {
            kernel,
            pieces: vec![Piece { gpa, offset: 0, size: self.code.len() as u64 }],
            written: Vec::new(),
            entry: self.entry,
            setup_header: None,
            initrd: None,
            cmdline: "lesson".parse().unwrap(),
            memory: self.memory.to_string().parse().unwrap(),
        }
    }

    fn build(&mut self, output: Option<&Output>) -> Option<(Machine, Arc<Record>)> {
        if !has_kvm() {
            return None;
        }
        let cpus = self.cpus.to_string().parse().unwrap();
        let recorder = Arc::new(Recorder::start_now());
        let device = Path::new(kvm::DEVICE);
        let devices = std::mem::take(&mut self.devices);
        let mut machine =
            Machine::build(device, &self.plan(), cpus, devices, output, recorder).expect("machine");
        let record = Arc::default();
        machine.insert_device(PROBE, Probe(Arc::clone(&record)));
        Some((machine, record))
    }

    /// Runs it to its end; `None` where there is no KVM.
    pub(crate) fn run(mut self) -> Option<Run> {
        let (reader, output) = match self.serial.take() {
            Some((reader, writer)) => (Some(reader), Some(Output::new(writer.into()).unwrap())),
            None => (None, None),
        };
        let (machine, record) = self.build(output.as_ref())?;
        let collector = reader.map(|reader| collect(reader, self.read_serial));
        let signals = Signals::take().unwrap();
        let quit = self.stop_after.map(|time| quit_after(&machine, time));
        let recorder = Recorder::start_now();
        let outcome = session::run(machine, &mut Console::default(), &signals, &recorder).unwrap();
        if let Some(quit) = quit {
            quit.join().unwrap();
        }
        if let Some(output) = &output {
            output.close();
        }
        drop(output);
        let output = collector.map_or_else(Vec::new, |collector| collector.join().unwrap());
        let accesses = record.so_far();
        let (end, exits, unclaimed) =
            (outcome.end, outcome.figures.exits, outcome.figures.unclaimed);
        Some(Run { end, exits, accesses, unclaimed, output })
    }

    /// Starts it without an event loop; `None` where there is no KVM.
    pub(crate) fn start(mut self) -> Option<Started> {
        let (mut machine, record) = self.build(None)?;
        let threads = machine.start().unwrap();
        Some(Started { _machine: machine, threads, record })
    }
}

/// A guest that runs.
pub(crate) struct Started {
    _machine: Machine,
    pub(crate) threads: Threads,
    record: Arc<Record>,
}

impl Started {
    /// How many accesses there have been.
    pub(crate) fn count(&self) -> usize {
        self.record.accesses.lock().unwrap().len()
    }

    /// Waits until there have been more accesses than that.
    pub(crate) fn wait_beyond(&self, count: usize) {
        const PATIENCE: Duration = Duration::from_secs(30);
        let accesses = self.record.accesses.lock().unwrap();
        let waited = self.record.more.wait_timeout_while(accesses, PATIENCE, |a| a.len() <= count);
        assert!(!waited.unwrap().1.timed_out(), "the guest stands still at {count} accesses");
    }

    pub(crate) fn stop(self) -> Vec<Access> {
        self.threads.stop();
        self.record.so_far()
    }
}

/// Reads a pipe to its end, or holds it open without reading.
fn collect(reader: OwnedFd, read: bool) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if read {
            File::from(reader).read_to_end(&mut bytes).unwrap();
        } else {
            // Dropped when the test's process ends.
            std::mem::forget(reader);
        }
        bytes
    })
}

fn quit_after(machine: &Machine, time: Duration) -> JoinHandle<()> {
    let end = machine.end_handle();
    thread::spawn(move || {
        thread::sleep(time);
        end.declare(End::Quit);
    })
}

/// This process' resident set, in bytes.
pub(crate) fn resident_set() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}
