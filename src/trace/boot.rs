//! The phases of a start, each stamped once, from any thread, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::tracer::Tracer;

/// The phases, in the order in which they are usually reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// `main` was entered; before that, the host kernel's execve and the program's own start.
    Main,
    /// What to do was decided: the command line, and the image that it names.
    Decided,
    /// A container has its place in the state directory.
    Claimed,
    /// Its control group was made.
    GroupMade,
    /// Its PID 1 was made.
    Cloned,
    /// PID 1 was given its users, the layered image and volumes.
    Provided,
    /// Kernel and initrd were opened, recognised, checked and placed.
    Planned,
    /// KVM was opened and the VM made.
    VmCreated,
    /// Guest memory was reserved.
    Memory,
    /// Kernel and initrd were mapped or copied into it, the tables written.
    Loaded,
    /// Devices and vCPUs were made and have their first registers.
    VcpusReady,
    /// The first KVM_RUN is about to be called.
    FirstRun,
    /// The guest sent a byte to the serial port.
    FirstSerialByte,
    /// The guest's init wrote to the boot mark.
    UserSpace,
    /// The command that the guest is for was started.
    CommandStarted,
    /// The command wrote something.
    FirstOutput,
    /// The guest ended, or the command in a container did.
    End,
    /// Nothing of a container runs any more.
    Gone,
    /// Nothing is left of it.
    Removed,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Phase; 19] = [
        Phase::Main,
        Phase::Decided,
        Phase::Claimed,
        Phase::GroupMade,
        Phase::Cloned,
        Phase::Provided,
        Phase::Planned,
        Phase::VmCreated,
        Phase::Memory,
        Phase::Loaded,
        Phase::VcpusReady,
        Phase::FirstRun,
        Phase::FirstSerialByte,
        Phase::UserSpace,
        Phase::CommandStarted,
        Phase::FirstOutput,
        Phase::End,
        Phase::Gone,
        Phase::Removed,
    ];

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Main => "main",
            Phase::Decided => "decided",
            Phase::Claimed => "claimed",
            Phase::GroupMade => "group_made",
            Phase::Cloned => "cloned",
            Phase::Provided => "provided",
            Phase::Planned => "planned",
            Phase::VmCreated => "vm_created",
            Phase::Memory => "memory",
            Phase::Loaded => "loaded",
            Phase::VcpusReady => "vcpus_ready",
            Phase::FirstRun => "first_run",
            Phase::FirstSerialByte => "first_serial_byte",
            Phase::UserSpace => "user_space",
            Phase::CommandStarted => "command_started",
            Phase::FirstOutput => "first_output",
            Phase::End => "end",
            Phase::Gone => "gone",
            Phase::Removed => "removed",
        }
    }

    /// The phase for a person.
    pub fn describe(self) -> &'static str {
        match self {
            Phase::Main => "process started",
            Phase::Decided => "command line parsed, image found",
            Phase::Claimed => "place in the state directory taken",
            Phase::GroupMade => "control group made",
            Phase::Cloned => "PID 1 made",
            Phase::Provided => "users, image and volumes provided",
            Phase::Planned => "kernel and initrd checked",
            Phase::VmCreated => "KVM and VM made",
            Phase::Memory => "memory reserved",
            Phase::Loaded => "kernel and initrd loaded",
            Phase::VcpusReady => "vCPUs ready",
            Phase::FirstRun => "first KVM_RUN",
            Phase::FirstSerialByte => "first serial byte",
            Phase::UserSpace => "user space reached",
            Phase::CommandStarted => "command started",
            Phase::FirstOutput => "command's first output",
            Phase::End => "end",
            Phase::Gone => "nothing of it runs",
            Phase::Removed => "nothing is left of it",
        }
    }
}

/// When phases were reached, as another process that has a copy of the recorder tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamps([u64; Phase::ALL.len()]);

/// Stamps phases on the monotonic clock.
pub struct Recorder {
    /// The process' start on the monotonic clock, in nanoseconds.
    start: u64,
    /// Nanoseconds since the start, plus one; zero where a phase was not reached.
    stamps: [AtomicU64; Phase::ALL.len()],
    /// Where events go, if anybody wants to know.
    tracer: OnceLock<Arc<Tracer>>,
}

impl Recorder {
    /// A recorder whose zero is the start of this process.
    ///
    /// No clock tells when execve was called. But until `main` a process only computes, so the
    /// CPU time that it has used so far is how long ago that was.
    pub fn since_exec() -> Recorder {
        let used = nanoseconds(ClockId::CLOCK_PROCESS_CPUTIME_ID);
        Recorder::starting_at(monotonic().saturating_sub(used))
    }

    /// A recorder whose zero is now.
    pub fn start_now() -> Recorder {
        Recorder::starting_at(monotonic())
    }

    fn starting_at(start: u64) -> Recorder {
        Recorder { start, stamps: Default::default(), tracer: OnceLock::new() }
    }

    /// The start of the process on the monotonic clock, in nanoseconds.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Has events recorded, too, from now on; to no effect where they are.
    pub fn trace_to(&self, tracer: Arc<Tracer>) {
        let _ = self.tracer.set(tracer);
    }

    /// Where events go. `None`: nobody wants to know.
    pub fn tracer(&self) -> Option<&Arc<Tracer>> {
        self.tracer.get()
    }

    /// Stamps a phase; only the first time counts.
    pub fn reached(&self, phase: Phase) {
        let stamp = &self.stamps[phase as usize];
        // Plain loads keep the clock out of hot paths once the phase is stamped. The stamps are
        // independent of all other data: no ordering is needed.
        if stamp.load(Ordering::Relaxed) == 0 {
            let now = monotonic().saturating_sub(self.start) + 1;
            let _ = stamp.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// What it has, for the process that it is a copy from.
    pub fn stamps(&self) -> Stamps {
        Stamps(std::array::from_fn(|phase| {
            self.stamps.get(phase).map_or(0, |stamp| stamp.load(Ordering::Relaxed))
        }))
    }

    /// Adds what a copy of it has.
    pub fn add(&self, stamps: Stamps) {
        for (own, stamp) in self.stamps.iter().zip(stamps.0) {
            let _ = own.compare_exchange(0, stamp, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// When a phase was reached, since the start of the process.
    pub fn at(&self, phase: Phase) -> Option<Duration> {
        let stamp = self.stamps[phase as usize].load(Ordering::Relaxed);
        stamp.checked_sub(1).map(Duration::from_nanos)
    }

    /// How long after the start of the process a time of the monotonic clock was.
    pub fn since_start(&self, time: u64) -> Duration {
        Duration::from_nanos(time.saturating_sub(self.start))
    }
}

/// The monotonic clock, in nanoseconds.
pub(crate) fn monotonic() -> u64 {
    nanoseconds(ClockId::CLOCK_MONOTONIC)
}

fn nanoseconds(clock: ClockId) -> u64 {
    // These clocks exist on every Linux, and count from the boot: never negative.
    let time = clock_gettime(clock).map(Duration::from).unwrap_or_default();
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_stamp_counts() {
        let recorder = Recorder::since_exec();
        assert_eq!(recorder.at(Phase::Main), None);
        recorder.reached(Phase::Main);
        let first = recorder.at(Phase::Main);
        recorder.reached(Phase::Main);
        assert!(first.is_some());
        assert_eq!(recorder.at(Phase::Main), first);
    }

    #[test]
    fn a_copys_stamps_are_added() {
        let (own, copy) = (Recorder::since_exec(), Recorder::since_exec());
        own.reached(Phase::Main);
        let main = own.at(Phase::Main);
        copy.reached(Phase::Main);
        copy.reached(Phase::Loaded);
        own.add(copy.stamps());
        assert_eq!((own.at(Phase::Main), own.at(Phase::Loaded)), (main, copy.at(Phase::Loaded)));
        assert_eq!(own.at(Phase::End), None);
    }
}
