//! Who looks after a back end: sees to the time limit, takes what it says, and notices its end.

use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{Expiration, TimerFd, TimerSetTimeFlags};

use crate::file_server::FileServer;
use crate::vm::devices::virtio::event_thread::{Worker, watch};
use crate::vm::devices::virtio::interrupt::Interrupt;
use crate::vm::timer::timer;

/// How much of what it has said is remembered.
const REMEMBERED: usize = 1024;

/// A time limit on an exchange of messages. The one who waits for the answer sleeps in a system call that
/// has no limit of its own; when time is up, the attendant closes the connection under it.
pub(super) struct Deadline {
    timer: TimerFd,
    patience: Duration,
}

impl Deadline {
    pub(super) fn new(patience: Duration) -> io::Result<Deadline> {
        Ok(Deadline { timer: timer()?, patience })
    }

    pub(super) fn begin(&self) -> io::Result<()> {
        let expiration = Expiration::OneShot(TimeSpec::from_duration(self.patience));
        Ok(self.timer.set(expiration, TimerSetTimeFlags::empty())?)
    }

    pub(super) fn end(&self) {
        // Fails only for a descriptor that is none.
        let _ = self.timer.unset();
    }
}

/// What is known of a back end.
pub(super) struct Shared {
    name: String,
    server: Option<FileServer>,
    /// Talks began well: from now on its end is news.
    begun: AtomicBool,
    lost: AtomicBool,
    /// That of the driver whose queues it serves now.
    interrupt: Mutex<Option<Arc<Interrupt>>>,
    remarks: Mutex<Vec<u8>>,
}

impl Shared {
    pub(super) fn new(name: String, server: Option<FileServer>) -> Shared {
        Shared {
            name,
            server,
            begun: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            interrupt: Mutex::new(None),
            remarks: Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn begin(&self) {
        self.begun.store(true, Ordering::Release);
    }

    pub(super) fn serve(&self, interrupt: Option<Arc<Interrupt>>) {
        *lock(&self.interrupt) = interrupt;
        // It may have gone a moment before.
        if self.is_lost() {
            self.tell();
        }
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// It is of no use any more; `true`: that is new.
    pub(super) fn lose(&self) -> bool {
        !self.lost.swap(true, Ordering::AcqRel)
    }

    /// Ends its process; returns the end of what it has said.
    pub(super) fn end(&self) -> String {
        let mut said = std::mem::take(&mut *lock(&self.remarks));
        if let Some(server) = &self.server {
            said.extend_from_slice(server.last_words().as_bytes());
        }
        String::from_utf8_lossy(&said).trim().replace('\n', "; ")
    }

    /// The driver has to know that nobody serves its queues.
    fn tell(&self) {
        if let Some(interrupt) = &*lock(&self.interrupt) {
            interrupt.needs_reset();
        }
    }

    fn remember(&self, text: &[u8]) {
        let mut remarks = lock(&self.remarks);
        remarks.extend_from_slice(text);
        let surplus = remarks.len().saturating_sub(REMEMBERED);
        remarks.drain(..surplus);
    }
}

/// What is behind it is whole whenever it is let go of.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) struct Attendant {
    connection: UnixStream,
    deadline: Arc<Deadline>,
    shared: Arc<Shared>,
}

const TIME_IS_UP: u32 = 0;
const REMARK: u32 = 1;
const CLOSED: u32 = 2;

impl Attendant {
    pub(super) fn new(
        connection: UnixStream,
        deadline: Arc<Deadline>,
        shared: Arc<Shared>,
    ) -> Attendant {
        Attendant { connection, deadline, shared }
    }

    fn take_remark(&self, ops: &mut EventOps) {
        let Some(server) = &self.shared.server else { return };
        let mut text = [0; 512];
        match server.remarks().read(&mut text) {
            Ok(size) if size > 0 => {
                let text = text.get(..size).unwrap_or_default();
                log::debug!("{}: {}", self.shared.name, String::from_utf8_lossy(text).trim_end());
                self.shared.remember(text);
            }
            // It has closed this, or ended.
            _ => forget(ops, server.remarks(), REMARK, EventSet::IN),
        }
    }

    fn closed(&self, ops: &mut EventOps) {
        forget(ops, &self.connection, CLOSED, EventSet::READ_HANG_UP);
        if !self.shared.lose() {
            return;
        }
        if self.shared.begun.load(Ordering::Acquire) {
            let words = self.shared.end();
            let words = if words.is_empty() { words } else { format!(": {words}") };
            log::error!(
                "{}: its server has ended{words}; what uses it in the guest waits for ever now, \
                 and `duplex stop` ends the guest",
                self.shared.name
            );
        }
        self.shared.tell();
    }
}

impl MutEventSubscriber for Attendant {
    fn init(&mut self, ops: &mut EventOps) {
        watch(ops, &self.deadline.timer.as_fd().as_raw_fd(), TIME_IS_UP);
        if let Some(server) = &self.shared.server {
            watch(ops, server.remarks(), REMARK);
        }
        let closing = Events::with_data(&self.connection, CLOSED, EventSet::READ_HANG_UP);
        if let Err(error) = ops.add(closing) {
            log::warn!("{}: its end cannot be noticed: {error}", self.shared.name);
        }
    }

    fn process(&mut self, events: Events, ops: &mut EventOps) {
        match events.data() {
            // Unless the answer came at the last moment.
            TIME_IS_UP if self.deadline.timer.wait().is_ok() => {
                let _ = self.connection.shutdown(Shutdown::Both);
            }
            REMARK => self.take_remark(ops),
            CLOSED => self.closed(ops),
            _ => {}
        }
    }
}

impl Worker for Attendant {}

/// Takes a file descriptor out of the event loop.
fn forget(ops: &mut EventOps, fd: &impl AsRawFd, data: u32, events: EventSet) {
    if let Err(error) = ops.remove(Events::with_data(fd, data, events)) {
        log::debug!("virtio: a file descriptor was not watched: {error}");
    }
}
