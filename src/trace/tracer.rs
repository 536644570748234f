//! Where events go: a lane for each source of them, and a thread that writes what the lanes have into the
//! file now and then.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::devices::DeviceMap;
use super::file::about::{Counters, Lane, Source};
use super::file::write::{Batch, TraceFile};
use super::ring::Ring;

/// How many events the ring of a lane holds.
const CAPACITY: u32 = 1 << 14;
/// How long, in milliseconds, an event may wait before it is in the file, where others can see it.
const PATIENCE: u16 = 250;
/// The writer's stack, in bytes.
const STACK: usize = 256 << 10;

/// Takes events from whoever makes them, without making them wait.
pub struct Tracer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    lanes: AtomicU32,
    /// How often a second vCPUs are to be asked where they are.
    samples: Option<u32>,
}

struct Shared {
    file: Arc<TraceFile>,
    bell: Arc<EventFd>,
    ended: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rings: Vec<(u32, Arc<Ring>, Said)>,
    batch: Batch,
    error: Option<io::Error>,
}

/// What the file says of a ring.
#[derive(Default)]
struct Said {
    dropped: u64,
}

impl Tracer {
    /// Starts writing into `file`. Where the guest is, is to be asked `samples` times a second.
    ///
    /// # Errors
    /// No file descriptor or thread left.
    pub fn start(file: Arc<TraceFile>, samples: Option<u32>) -> io::Result<Tracer> {
        let bell = Arc::new(EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?);
        let state = Mutex::default();
        let shared = Arc::new(Shared { file, bell, ended: AtomicBool::new(false), state });
        let writing = shared.clone();
        let thread = thread::Builder::new()
            .name("trace".into())
            .stack_size(STACK)
            .spawn(move || writing.write_until_ended())?;
        let (thread, lanes) = (Mutex::new(Some(thread)), AtomicU32::new(0));
        Ok(Tracer { shared, thread, lanes, samples })
    }

    /// How often a second vCPUs are to be asked where they are, if at all.
    pub fn samples(&self) -> Option<u32> {
        self.samples
    }

    /// A ring for events of `source`.
    pub fn lane(&self, source: Source) -> Arc<Ring> {
        let number = self.lanes.fetch_add(1, Ordering::Relaxed);
        let ring = Arc::new(Ring::new(CAPACITY, self.shared.bell.clone()));
        let mut state = self.shared.lock();
        state.note(self.shared.file.lane(&Lane { number, source }));
        state.rings.push((number, ring.clone(), Said::default()));
        ring
    }

    /// Who answers where, from now on.
    pub fn devices(&self, devices: &DeviceMap) {
        let mut state = self.shared.lock();
        // What has happened so far was by the old ones.
        self.shared.drain(&mut state);
        state.note(self.shared.file.devices(devices));
    }

    /// What KVM has counted for a vCPU.
    pub fn counters(&self, counters: &Counters) {
        let mut state = self.shared.lock();
        state.note(self.shared.file.counters(counters));
    }

    /// Writes what there is and ends the thread. Nobody may make events any more.
    ///
    /// # Errors
    /// The first that came while the file was written.
    pub fn stop(&self) -> io::Result<()> {
        self.shared.ended.store(true, Ordering::Release);
        // Fails only where the counter is full, and then it is awake.
        let _ = self.shared.bell.write(1);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // One that panicked has said so.
            let _ = thread.join();
        }
        self.shared.lock().error.take().map_or(Ok(()), Err)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            log::warn!("the trace is not whole: {error}");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock leaves the state half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_until_ended(&self) {
        loop {
            // First of all: at the start there is nothing, and whoever makes lanes must not wait.
            self.wait();
            // Before it is looked at a last time: what was made before that is there.
            let ended = self.ended.load(Ordering::Acquire);
            self.drain(&mut self.lock());
            if ended {
                return;
            }
        }
    }

    fn wait(&self) {
        // SAFETY: the eventfd lives in `self`.
        let bell = unsafe { BorrowedFd::borrow_raw(self.bell.as_raw_fd()) };
        let mut bell = [PollFd::new(bell, PollFlags::POLLIN)];
        // A signal, too, is a reason to look.
        let _ = poll(&mut bell, PollTimeout::from(PATIENCE));
        // Only a wake-up: how often it was rung does not matter.
        let _ = self.bell.read();
    }

    /// Writes what the rings have.
    fn drain(&self, state: &mut State) {
        let State { rings, batch, error } = state;
        for (number, ring, said) in rings {
            let dropped = ring.dropped();
            batch.begin(*number, dropped);
            ring.drain(|words| {
                batch.add(words);
                if batch.count() == Batch::MOST {
                    keep(error, self.file.events(batch));
                    batch.begin(*number, dropped);
                }
            });
            if batch.count() > 0 || dropped > said.dropped {
                keep(error, self.file.events(batch));
                said.dropped = dropped;
            }
        }
    }
}

impl State {
    fn note(&mut self, result: io::Result<()>) {
        keep(&mut self.error, result);
    }
}

/// Only the first error tells what happened.
fn keep(error: &mut Option<io::Error>, result: io::Result<()>) {
    if let Err(new) = result {
        error.get_or_insert(new);
    }
}
