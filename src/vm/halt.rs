//! Notices a machine whose vCPUs are all halted with interrupts off: the in-kernel interrupt
//! controller keeps halts to itself, so they must be paused for a look. A pause takes microseconds.

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use event_manager::{EventOps, Events, MutEventSubscriber};
use nix::sys::timerfd::{Expiration, TimerFd, TimerSetTimeFlags};

use super::control::{Snapshot, Threads};
use super::end::{End, EndSlot};
use super::timer::timer;
use super::watch::watch;

/// How often the vCPUs are looked at. Found dead twice in the same place, the machine has ended:
/// within 2 s.
const LOOK: Duration = Duration::from_millis(800);

/// Looks at the vCPUs now and then.
pub(super) struct HaltWatch<'a> {
    threads: &'a Threads,
    end: &'a EndSlot,
    timer: TimerFd,
    dead_before: Option<Vec<Snapshot>>,
}

impl<'a> HaltWatch<'a> {
    pub(super) fn new(threads: &'a Threads, end: &'a EndSlot) -> nix::Result<Self> {
        let timer = timer()?;
        timer.set(Expiration::Interval(LOOK.into()), TimerSetTimeFlags::empty())?;
        Ok(HaltWatch { threads, end, timer, dead_before: None })
    }

    fn look(&mut self) {
        let snapshots = self.threads.pause();
        self.threads.resume();
        // Those that a debugger has stopped are not among them.
        let all = !snapshots.is_empty() && snapshots.len() == self.threads.count();
        let dead = all && snapshots.iter().all(|vcpu| vcpu.dead);
        if dead && self.dead_before.as_ref().is_some_and(|before| same(before, &snapshots)) {
            self.end.declare(End::Halted);
        }
        self.dead_before = dead.then_some(snapshots);
    }
}

/// Whether the vCPUs, which pause in any order, are where they were.
fn same(before: &[Snapshot], now: &[Snapshot]) -> bool {
    let sorted = |snapshots: &[Snapshot]| {
        let mut rips: Vec<u64> = snapshots.iter().map(|snapshot| snapshot.rip).collect();
        rips.sort_unstable();
        rips
    };
    sorted(before) == sorted(now)
}

impl MutEventSubscriber for HaltWatch<'_> {
    fn init(&mut self, ops: &mut EventOps) {
        watch(ops, self.timer.as_fd().as_raw_fd());
    }

    fn process(&mut self, _events: Events, _ops: &mut EventOps) {
        // Clears the timer; how often it expired does not matter.
        let _ = self.timer.wait();
        self.look();
    }
}
