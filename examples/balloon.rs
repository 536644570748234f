//! Shows what a balloon does to the host's memory: `balloon KERNEL INITRD` boots the demo guest with a
//! shell twice and drives both, the guest by its console and the balloon by its control. First the
//! driver may not report free pages, so that only the balloon itself gives memory back; then it may.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use duplex::trace::boot::Recorder;
use duplex::vm::boot::kernel::Kernel;
use duplex::vm::boot::plan::Plan;
use duplex::vm::console::Console;
use duplex::vm::devices::virtio::balloon::Balloon;
use duplex::vm::devices::virtio::balloon::control::Control;
use duplex::vm::devices::virtio::event_thread::EventThread;
use duplex::vm::devices::virtio::{ActivateError, Activation, VirtioDevice};
use duplex::vm::kvm;
use duplex::vm::machine::Machine;
use duplex::vm::reclaim::Reclaim;
use duplex::vm::session::{self, Signals};
use duplex::workload::Serial;

/// What the guest fills its root file system with, in MiB.
const FILLED: u64 = 64;
/// VIRTIO_BALLOON_F_PAGE_REPORTING.
const REPORTING: u64 = 1 << 5;
/// VIRTIO_BALLOON_S_MEMFREE.
const MEMORY_FREE: u16 = 4;
/// Everything here may happen on a slow and busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(kernel), Some(initrd)) = (arguments.next(), arguments.next()) else {
        panic!("usage: balloon KERNEL INITRD");
    };
    // The console leads to the standard streams, which are pipes to the thread that drives the guest.
    let mut say = File::from(io::stdout().as_fd().try_clone_to_owned().unwrap());
    for reporting in [false, true] {
        let (guest_reads, keyboard) = io::pipe().unwrap();
        let (screen, guest_writes) = io::pipe().unwrap();
        nix::unistd::dup2_stdin(&guest_reads).unwrap();
        nix::unistd::dup2_stdout(&guest_writes).unwrap();
        drop((guest_reads, guest_writes));
        let control = Arc::new(Control::new(0).unwrap());
        let mut guest = Guest { keyboard, screen, seen: Vec::new(), control: control.clone() };
        let driver = thread::spawn(move || {
            let check = if reporting { with_reports } else { without_reports };
            let said = catch_unwind(AssertUnwindSafe(|| check(&mut guest)));
            // Nobody else would end the guest.
            let said = said.unwrap_or_else(|_| {
                eprintln!("{}", String::from_utf8_lossy(&guest.seen));
                std::process::exit(1)
            });
            guest.type_in("exit");
            // Until its end the guest may print.
            let _ = guest.screen.read_to_end(&mut Vec::new());
            said
        });
        boot(Path::new(&kernel), Path::new(&initrd), control, reporting);
        // Else the screen never ends.
        nix::unistd::dup2_stdout(&say).unwrap();
        for line in driver.join().unwrap() {
            writeln!(say, "{line}").unwrap();
        }
    }
}

/// Runs the guest to its end.
fn boot(kernel: &Path, initrd: &Path, control: Arc<Control>, reporting: bool) {
    let cmdline = "console=ttyS0 quiet panic=-1 duplex.then=shell".parse().unwrap();
    let memory = "256M".parse().unwrap();
    let kernel = Kernel::open(kernel).unwrap();
    let plan = Plan::new(kernel, Some(initrd), cmdline, memory, 1).unwrap();
    let thread = Arc::new(EventThread::start("balloon").unwrap());
    let device = Balloon::new(control, Reclaim::new(plan.mapped()), thread);
    let device: Box<dyn VirtioDevice> =
        if reporting { Box::new(device) } else { Box::new(WithoutReports(device)) };
    let signals = Signals::take().unwrap();
    let mut console = Console::open(&Serial::Stdio, &Serial::Off).unwrap();
    let recorder = Arc::new(Recorder::start_now());
    let (cpus, output) = ("1".parse().unwrap(), console.serial());
    let device_path = Path::new(kvm::DEVICE);
    let machine =
        Machine::build(device_path, &plan, cpus, vec![device], output, recorder.clone()).unwrap();
    let outcome = session::run(machine, &mut console, &signals, &recorder).unwrap();
    session::finish(&console, &signals, &outcome.end);
}

/// Only the balloon.
fn without_reports(guest: &mut Guest) -> Vec<String> {
    guest.wait_for("# ");
    let at_first = resident();
    let sum = guest.fill();
    let filled = resident();
    guest.empty();
    let emptied = resident();
    assert!(filled >= at_first + FILLED * 3 / 4, "{at_first} {filled}");
    assert!(emptied + 8 >= filled, "a freed page is the guest's: {filled} {emptied}");
    // Nearly all that is free, so that most of what was filled is among it.
    let free = guest.free();
    let target = u32::try_from((free - 24) << 8).unwrap();
    guest.control.set_target(target);
    wait("the balloon grows", || guest.control.actual() == target);
    let inflated = resident();
    assert!(inflated + FILLED / 2 <= emptied, "{emptied} {inflated}");
    let free_then = guest.free();
    assert!(free_then < free / 2, "{free} {free_then}");
    guest.control.set_target(0);
    wait("the balloon shrinks", || guest.control.actual() == 0);
    assert_eq!(guest.fill(), sum);
    let again = resident();
    assert!(again >= inflated + FILLED / 2, "{inflated} {again}");
    vec![format!(
        "balloon: resident MiB at first {at_first}, filled {filled}, freed {emptied}, inflated \
         {inflated}, deflated and filled {again}"
    )]
}

/// Only reports of free pages.
fn with_reports(guest: &mut Guest) -> Vec<String> {
    guest.wait_for("# ");
    let at_first = resident();
    let sum = guest.fill();
    let filled = resident();
    assert!(filled >= at_first + FILLED * 3 / 4, "{at_first} {filled}");
    guest.empty();
    wait("freed memory comes back", || resident() <= filled - FILLED * 3 / 4);
    let reported = resident();
    assert_eq!(guest.fill(), sum);
    let again = resident();
    assert!(again >= reported + FILLED / 2, "{reported} {again}");
    vec![format!(
        "reports: resident MiB at first {at_first}, filled {filled}, freed {reported}, filled {again}"
    )]
}

/// The guest's shell and balloon.
struct Guest {
    keyboard: io::PipeWriter,
    screen: io::PipeReader,
    /// All that it has printed.
    seen: Vec<u8>,
    control: Arc<Control>,
}

impl Guest {
    fn type_in(&mut self, line: &str) {
        writeln!(self.keyboard, "{line}").unwrap();
    }

    /// Reads until `text`; returns what came until then.
    fn wait_for(&mut self, text: &str) -> String {
        let start = self.seen.len();
        while !self.seen.get(start..).unwrap().ends_with(text.as_bytes()) {
            let mut byte = [0];
            assert_eq!(self.screen.read(&mut byte).unwrap(), 1, "the guest has ended");
            self.seen.extend(byte);
        }
        String::from_utf8_lossy(&self.seen[start..]).into_owned()
    }

    /// Runs a command; returns what it prints.
    fn run(&mut self, command: &str) -> String {
        // The quotes keep what is typed apart from what is printed.
        self.type_in(&format!("echo beg\"\"in; {command}; echo en\"\"d"));
        self.wait_for("begin\r\n");
        let printed = self.wait_for("end\r\n");
        self.wait_for("# ");
        printed
    }

    /// Has it write a file of its own program into its memory; returns the checksum of a part.
    fn fill(&mut self) -> String {
        self.run(&format!(
            "while cat /bin/busybox; do :; done | dd bs=1M count={FILLED} iflag=fullblock \
             of=/tmp/filled 2>/dev/null; dd if=/tmp/filled bs=1M skip={} count=4 2>/dev/null | md5sum",
            FILLED / 2
        ))
    }

    fn empty(&mut self) {
        self.run("rm /tmp/filled");
    }

    /// How much memory it has free, in MiB, as it says itself.
    fn free(&self) -> u64 {
        let before = self.control.statistics_count();
        wait("statistics come", || {
            self.control.request_statistics();
            self.control.statistics_count() > before
        });
        self.control.statistics()[&MEMORY_FREE] >> 20
    }
}

/// Waits for what no event tells of.
fn wait(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// This process' anonymous memory that is there, in MiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

/// A balloon whose driver cannot report free pages.
struct WithoutReports(Balloon);

impl VirtioDevice for WithoutReports {
    fn device_type(&self) -> u32 {
        self.0.device_type()
    }

    fn features(&self) -> u64 {
        self.0.features() & !REPORTING
    }

    fn queue_sizes(&self) -> &[u16] {
        self.0.queue_sizes()
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        self.0.read_config(offset, data);
    }

    fn write_config(&mut self, offset: u64, data: &[u8]) {
        self.0.write_config(offset, data);
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        self.0.activate(activation)
    }

    fn reset(&mut self) {
        self.0.reset();
    }
}
