//! Stopping and pausing vCPU threads without a race.
//!
//! The one who asks writes the request and then sends every vCPU thread the kick signal. The
//! threads keep that signal blocked but for the time inside KVM_RUN (KVM_SET_SIGNAL_MASK): if it
//! comes in between, it stays pending and KVM_RUN returns at once. So no request is ever missed,
//! and nothing has to be polled.

use std::os::unix::thread::JoinHandleExt;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow};

use crate::trace::exits::ExitCounts;

/// What the vCPU threads are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Request {
    /// Run the guest.
    Run = 0,
    /// Leave the guest and wait.
    Pause = 1,
    /// Leave the guest and end.
    Stop = 2,
}

/// Beside the request: the guest must wait until its output was taken.
const THROTTLED: u8 = 0x80;

/// How a vCPU was found when it paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// It is halted with interrupts off, or was never started: only another vCPU can wake it.
    pub dead: bool,
    /// Its instruction pointer.
    pub rip: u64,
}

#[derive(Default)]
struct State {
    /// A debugger has stopped the guest.
    frozen: bool,
    /// Somebody else has paused it.
    paused: bool,
    /// It is to end, whoever holds it.
    stopping: bool,
    /// How many outputs of the guest are full: it must wait until they were taken.
    throttled: usize,
    /// How many threads wait for the end of a pause.
    parked: usize,
    /// How many threads have ended.
    ended: usize,
    snapshots: Vec<Snapshot>,
}

/// The meeting point of the vCPU threads and the one who controls them.
pub struct Control {
    /// The vCPUs, by a bit each, that stand still while others run: a debugger steps one of them.
    held: AtomicU32,
    /// The request and [`THROTTLED`], readable without the lock on the way into every KVM_RUN.
    request: AtomicU8,
    state: Mutex<State>,
    changed: Condvar,
}

impl Default for Control {
    fn default() -> Self {
        Control {
            held: AtomicU32::new(0),
            request: AtomicU8::new(Request::Run as u8),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }
}

impl Control {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is only counters: whoever panicked cannot have left it half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is asked for, and tells all who wait for that.
    fn set(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let request = match () {
            () if state.stopping => Request::Stop,
            () if state.paused || state.frozen => Request::Pause,
            () => Request::Run,
        };
        state.snapshots.clear();
        let throttled = if state.throttled > 0 { THROTTLED } else { 0 };
        self.request.store(request as u8 | throttled, Ordering::Release);
        self.changed.notify_all();
    }

    /// Has vCPUs stand still from their next exit on, for a debugger. Called by a vCPU thread, or before there
    /// are any.
    pub(super) fn hold(&self) {
        self.set(|state| state.frozen = true);
    }

    fn is_held(&self, vcpu: u8) -> bool {
        self.held.load(Ordering::Acquire) >> vcpu & 1 == 1
    }

    /// What is asked for now.
    fn request(&self) -> Request {
        match self.request.load(Ordering::Acquire) & !THROTTLED {
            0 => Request::Run,
            1 => Request::Pause,
            _ => Request::Stop,
        }
    }

    /// Called by a vCPU thread before it enters the guest: what it is to do. Waits while the guest
    /// is throttled and nothing else is asked for.
    pub fn next(&self, vcpu: u8) -> Request {
        if self.request.load(Ordering::Acquire) == Request::Run as u8 {
            return if self.is_held(vcpu) { Request::Pause } else { Request::Run };
        }
        let mut state = self.lock();
        while state.throttled > 0 && self.request() == Request::Run {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        match self.request() {
            Request::Run if self.is_held(vcpu) => Request::Pause,
            request => request,
        }
    }

    /// Makes the vCPUs wait at their next exit, because one of the guest's outputs is full; or lets
    /// them go on, when all that were have been taken.
    pub fn throttle(&self, full: bool) {
        let mut state = self.lock();
        state.throttled =
            if full { state.throttled + 1 } else { state.throttled.saturating_sub(1) };
        if state.throttled > 0 {
            self.request.fetch_or(THROTTLED, Ordering::Release);
        } else {
            self.request.fetch_and(!THROTTLED, Ordering::Release);
        }
        self.changed.notify_all();
    }

    /// Called by a vCPU thread that has seen [`Request::Pause`]: leaves a snapshot and waits until
    /// something else is asked for.
    pub fn park(&self, vcpu: u8, snapshot: Snapshot) {
        let mut state = self.lock();
        state.parked += 1;
        state.snapshots.push(snapshot);
        self.changed.notify_all();
        while self.request() == Request::Pause
            || self.request() == Request::Run && self.is_held(vcpu)
        {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.parked -= 1;
        self.changed.notify_all();
    }

    /// Called when a vCPU thread ends, for whatever reason.
    pub fn ended(&self) {
        self.lock().ended += 1;
        self.changed.notify_all();
    }
}

/// The signal that makes KVM_RUN return.
pub fn kick_signal() -> libc::c_int {
    libc::SIGRTMIN()
}

/// The kick signal alone, as a set.
fn kick_set() -> SigSet {
    let mut set: libc::sigset_t = *SigSet::empty().as_ref();
    // A real-time signal: nix has no name for it.
    // SAFETY: `set` is an initialised signal set and the signal number is valid.
    unsafe { libc::sigaddset(&raw mut set, kick_signal()) };
    // SAFETY: as initialised just above.
    unsafe { SigSet::from_sigset_t_unchecked(set) }
}

/// Keeps the kick signal blocked on this thread while it lives. Threads that are started in the
/// meantime have it blocked from their first instruction on: a kick must not find one before.
pub struct KickBlocked(SigSet);

impl KickBlocked {
    /// Blocks it.
    ///
    /// # Errors
    /// None that could happen: the set is valid.
    pub fn new() -> nix::Result<KickBlocked> {
        kick_set().thread_swap_mask(SigmaskHow::SIG_BLOCK).map(KickBlocked)
    }
}

impl Drop for KickBlocked {
    fn drop(&mut self) {
        // Cannot fail: the mask came from the kernel.
        let _ = self.0.thread_set_mask();
    }
}

/// Takes the kicks that are pending on this thread, so that the next KVM_RUN does not return for them. A real-time
/// signal is pending as often as it was sent.
pub fn forget_kick() {
    let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let kicks = kick_set();
    // SAFETY: the pointers are to live values, and no information about the signal is asked for.
    let take =
        || unsafe { libc::sigtimedwait(kicks.as_ref(), std::ptr::null_mut(), &raw const zero) };
    while take() > 0 {}
}

/// The running vCPU threads, and how to control them.
pub struct Threads {
    control: Arc<Control>,
    handles: Vec<JoinHandle<ExitCounts>>,
}

impl Threads {
    /// Takes the threads under control.
    pub fn new(control: Arc<Control>, handles: Vec<JoinHandle<ExitCounts>>) -> Self {
        Threads { control, handles }
    }

    /// Has all vCPUs leave the guest, to enter it again at once if nothing else is asked for.
    pub(super) fn kick(&self) {
        for handle in &self.handles {
            // SAFETY: the thread was not joined yet, so its id is valid, even if it has ended.
            unsafe { libc::pthread_kill(handle.as_pthread_t(), kick_signal()) };
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.handles.len()
    }

    /// Pauses all vCPUs and returns how each was found. Fewer snapshots than vCPUs: some have
    /// ended, or a debugger has stopped them.
    pub fn pause(&self) -> Vec<Snapshot> {
        self.control.set(|state| state.paused = true);
        self.kick();
        self.wait_until_parked().snapshots.clone()
    }

    /// Lets paused vCPUs run again, and waits until they do, so that a pause that follows finds
    /// none of them still leaving this one.
    pub fn resume(&self) {
        self.control.set(|state| state.paused = false);
        self.wait_until_left();
    }

    /// Stops all vCPUs for a debugger, and waits until they stand still.
    pub(super) fn freeze(&self) {
        self.control.hold();
        self.kick();
        drop(self.wait_until_parked());
    }

    /// Lets them run again, but for those whose bits are set.
    pub(super) fn thaw(&self, held: u32) {
        self.control.held.store(held, Ordering::Release);
        self.control.set(|state| state.frozen = false);
        self.wait_until_left();
    }

    fn wait_until_parked(&self) -> MutexGuard<'_, State> {
        let mut state = self.control.lock();
        while state.parked + state.ended < self.handles.len() {
            state = self.control.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// Waits until nobody is parked any more but those who are held, or all are to park again.
    fn wait_until_left(&self) {
        let held = self.control.held.load(Ordering::Acquire).count_ones();
        let held = usize::try_from(held).unwrap_or(0);
        let mut state = self.control.lock();
        while state.parked > held && self.control.request() == Request::Run {
            state = self.control.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends all threads and returns their exit counts, added up.
    pub fn stop(self) -> ExitCounts {
        self.control.set(|state| state.stopping = true);
        self.kick();
        let mut counts = ExitCounts::default();
        for handle in self.handles {
            // A thread that panicked has said so through `End`; its counts are lost.
            if let Ok(of_vcpu) = handle.join() {
                counts.add(&of_vcpu);
            }
        }
        counts
    }
}
