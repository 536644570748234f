//! The console's output: a queue between the guest, which must never wait inside of a device, and
//! a thread that writes to wherever the output goes, which may be slow or stuck.
//!
//! When the reader is slow the vCPUs are throttled between exits, where they can still be paused
//! and stopped, so the queue stays small and nothing is lost.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::control::Control;

/// Bytes in the queue from which on the guest is throttled.
const HIGH_WATER: usize = 64 << 10;
/// Bytes in the queue at which it may go on.
const LOW_WATER: usize = 16 << 10;

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Whose output it is.
    guest: Option<Arc<Control>>,
    /// Whether that guest is throttled now.
    full: bool,
    /// The writer is between taking bytes and having written them.
    writing: bool,
    /// No more bytes will come.
    closed: bool,
}

impl Queue {
    /// Throttles the guest, or lets it go on.
    fn set_full(&mut self, full: bool) {
        if full != self.full
            && let Some(guest) = &self.guest
        {
            guest.throttle(full);
        }
        self.full = full;
    }
}

struct Inner {
    queue: Mutex<Queue>,
    changed: Condvar,
    room: EventFd,
    drained: EventFd,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The console's output. Cheap to clone; every clone feeds the same queue.
#[derive(Clone)]
pub struct Output(Arc<Inner>);

impl Output {
    /// Starts the thread that writes to `file`.
    ///
    /// # Errors
    /// No file descriptor or thread left.
    pub fn new(file: File) -> io::Result<Output> {
        let inner = Arc::new(Inner {
            queue: Mutex::default(),
            changed: Condvar::new(),
            room: EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?,
            drained: EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?,
        });
        let output = Output(inner.clone());
        thread::Builder::new().name("console".into()).spawn(move || write_all(&inner, file))?;
        Ok(output)
    }

    /// The end that a guest writes to.
    pub fn for_guest(&self, control: Arc<Control>) -> GuestOutput {
        self.throttles(control);
        GuestOutput(self.clone())
    }

    /// Says whose output this is from now on: that guest is throttled while the queue is full.
    pub fn throttles(&self, guest: Arc<Control>) {
        let mut queue = self.0.lock();
        let full = queue.full;
        queue.set_full(false);
        queue.guest = Some(guest);
        queue.set_full(full);
    }

    /// How many bytes can be put into the queue until it is full.
    pub fn room(&self) -> usize {
        HIGH_WATER.saturating_sub(self.0.lock().bytes.len())
    }

    /// Readable when there is room again after the queue was full.
    pub fn has_room(&self) -> &EventFd {
        &self.0.room
    }

    /// Puts bytes into the queue. Takes more than [`Output::room`] too: then it is for whoever
    /// writes not to do so often.
    pub fn put(&self, bytes: &[u8]) {
        let mut queue = self.0.lock();
        queue.bytes.extend_from_slice(bytes);
        if queue.bytes.len() >= HIGH_WATER {
            queue.set_full(true);
        }
        if !queue.writing {
            self.0.changed.notify_all();
        }
    }

    /// Says that no more bytes will come; then [`Output::drained`] becomes readable once all are
    /// written.
    pub fn close(&self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }

    /// Readable when the output was closed and all of it written.
    pub fn drained(&self) -> &EventFd {
        &self.0.drained
    }
}

/// The guest's end of the output.
pub struct GuestOutput(Output);

impl Write for GuestOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.put(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes all of it, and waits where that cannot be done now. A pipe or terminal is shared, and any
/// of those who share it may have set it not to wait (O_NONBLOCK).
fn write_or_wait(file: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut wait = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
                match poll(&mut wait, PollTimeout::NONE) {
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The writer thread: takes what is there, writes it, until the queue is closed and empty.
fn write_all(inner: &Inner, mut file: File) {
    let mut batch = Vec::new();
    // Once nobody takes the output any more (EPIPE, a full disk) the rest is dropped: the guest
    // goes on as on a line that was unplugged.
    let mut broken = false;
    loop {
        let mut queue = inner.lock();
        queue.writing = false;
        while queue.bytes.is_empty() && !queue.closed {
            queue = inner.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if queue.bytes.is_empty() {
            // Written once: the counter cannot overflow.
            let _ = inner.drained.write(1);
            return;
        }
        queue.writing = true;
        std::mem::swap(&mut queue.bytes, &mut batch);
        drop(queue);
        if !broken && let Err(error) = write_or_wait(&mut file, &batch) {
            log::debug!("console: output is lost from here on: {error}");
            broken = true;
        }
        batch.clear();
        let mut queue = inner.lock();
        if queue.full && queue.bytes.len() <= LOW_WATER {
            queue.set_full(false);
            // Only a wake-up: a full counter is one.
            let _ = inner.room.write(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    use std::io::Read;
    use std::os::fd::OwnedFd;

    #[test]
    fn nothing_is_lost_on_a_pipe_that_was_set_not_to_wait() {
        let (mut reader, writer) = io::pipe().unwrap();
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let output = Output::new(File::from(OwnedFd::from(writer))).unwrap();
        // Several times what a pipe holds.
        let sent: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        output.for_guest(Arc::default()).write_all(&sent).unwrap();
        output.close();
        let mut came = vec![0; sent.len()];
        reader.read_exact(&mut came).unwrap();
        assert!(came == sent);
    }
}
