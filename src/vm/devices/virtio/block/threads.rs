//! The thread pool engine: blocking system calls, for hosts without io_uring.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::backing::Backing;
use super::engine::{Done, Engine, Operation};
use crate::vm::devices::virtio::event_thread::STACK;

/// How many operations run at a time. They mostly wait, so this has little to do with processors.
const THREADS: u32 = 8;

/// The pool of one file.
pub(super) struct Threads {
    shared: Arc<Shared>,
    handles: Vec<JoinHandle<()>>,
}

struct Shared {
    backing: Arc<Backing>,
    completion: EventFd,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    done: Vec<Done>,
    ended: bool,
}

struct Job {
    token: u32,
    call: Call,
}

/// An operation without its lifetime.
enum Call {
    Read { iovecs: *const libc::iovec, count: i32, offset: i64 },
    Write { iovecs: *const libc::iovec, count: i32, offset: i64, flags: i32 },
    Flush,
    Allocate { mode: i32, offset: i64, length: i64 },
}

// SAFETY: the pointer is only handed to the kernel, and whoever submitted it keeps what it points to
// as it is until the job is done.
unsafe impl Send for Call {}

impl Threads {
    pub(super) fn start(backing: Arc<Backing>, depth: u32) -> io::Result<Threads> {
        let depth_entries = usize::try_from(depth).unwrap_or(0);
        let shared = Arc::new(Shared {
            backing,
            completion: EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?,
            queue: Mutex::new(Queue {
                waiting: VecDeque::with_capacity(depth_entries),
                done: Vec::with_capacity(depth_entries),
                ended: false,
            }),
            changed: Condvar::new(),
        });
        let mut threads = Threads { shared, handles: Vec::new() };
        for number in 0..THREADS.min(depth.max(1)) {
            let shared = threads.shared.clone();
            let spawned = thread::Builder::new()
                .name(format!("disk-io{number}"))
                .stack_size(STACK)
                .spawn(move || shared.work())?;
            threads.handles.push(spawned);
        }
        Ok(threads)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
        for handle in self.handles.drain(..) {
            // One that panicked has said so.
            let _ = handle.join();
        }
    }
}

impl Engine for Threads {
    unsafe fn submit(&mut self, token: u32, operation: Operation<'_>) {
        self.shared.lock().waiting.push_back(Job { token, call: Call::new(operation) });
        self.shared.changed.notify_one();
    }

    fn commit(&mut self) {}

    fn reap(&mut self, done: &mut Vec<Done>) {
        done.append(&mut self.shared.lock().done);
    }

    fn completion(&self) -> RawFd {
        self.shared.completion.as_raw_fd()
    }

    fn hear(&self) {
        // How often it was rung does not matter.
        let _ = self.shared.completion.read();
    }

    fn wait(&mut self) {
        if !self.shared.lock().done.is_empty() {
            return;
        }
        // SAFETY: the eventfd lives in `self`.
        let fd = unsafe { BorrowedFd::borrow_raw(self.shared.completion.as_raw_fd()) };
        let mut completion = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        while let Err(nix::errno::Errno::EINTR) = poll(&mut completion, PollTimeout::NONE) {}
        self.hear();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing that can panic happens under the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut queue = self.lock();
        loop {
            while let Some(job) = queue.waiting.pop_front() {
                drop(queue);
                let result = job.call.make(self.backing.as_raw_fd());
                queue = self.lock();
                let first = queue.done.is_empty();
                queue.done.push(Done { token: job.token, result });
                if first {
                    // The counter cannot overflow: it is rung once for each emptied list.
                    let _ = self.completion.write(1);
                }
            }
            if queue.ended {
                return;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Call {
    fn new(operation: Operation<'_>) -> Call {
        // Offsets lie within the disk, whose size came from the kernel as such a number.
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let count = |iovecs: &[libc::iovec]| i32::try_from(iovecs.len()).unwrap_or(0);
        match operation {
            Operation::Read { iovecs, offset } => {
                Call::Read { iovecs: iovecs.as_ptr(), count: count(iovecs), offset: signed(offset) }
            }
            Operation::Write { iovecs, offset, durable } => Call::Write {
                iovecs: iovecs.as_ptr(),
                count: count(iovecs),
                offset: signed(offset),
                flags: if durable { libc::RWF_DSYNC } else { 0 },
            },
            Operation::Flush => Call::Flush,
            Operation::Allocate { mode, offset, length } => {
                Call::Allocate { mode, offset: signed(offset), length: signed(length) }
            }
        }
    }

    /// Makes the system call; an error is a number below zero, as io_uring has it.
    fn make(self, fd: i32) -> i64 {
        // SAFETY: whoever submitted the operation keeps its buffers valid until it is done.
        let result = unsafe {
            match self {
                Call::Read { iovecs, count, offset } => {
                    i64::try_from(libc::preadv(fd, iovecs, count, offset)).unwrap_or(-1)
                }
                Call::Write { iovecs, count, offset, flags } => {
                    i64::try_from(libc::pwritev2(fd, iovecs, count, offset, flags)).unwrap_or(-1)
                }
                Call::Flush => libc::fdatasync(fd).into(),
                Call::Allocate { mode, offset, length } => {
                    libc::fallocate(fd, mode, offset, length).into()
                }
            }
        };
        if result >= 0 {
            return result;
        }
        -i64::from(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
    }
}
