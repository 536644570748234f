//! A thread with an event loop that devices hand their work to. One serves all devices; a disk has
//! its own.
//!
//! What runs here must not block: it would keep every other device of the thread waiting. A panic of one
//! worker ends the thread and the machine (`queue.rs`, at its end).

use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use event_manager::{
    Error, EventManager, EventOps, EventSet, Events, MutEventSubscriber, RemoteEndpoint,
    SubscriberId,
};
use std::os::fd::AsRawFd;

/// The stack of each of a device's threads, in bytes: they go nowhere deep, and `machine.rs` says what
/// the usual size can cost.
pub(super) const STACK: usize = 256 << 10;

/// What an active device does: reacts to its file descriptors.
pub trait Worker: MutEventSubscriber + Send {
    /// Called once it has been taken out of the event loop: waits for what the host has in hand.
    fn stop(&mut self) {}
}

/// The thread. It ends when this is dropped.
pub struct EventThread {
    endpoint: RemoteEndpoint<Box<dyn Worker>>,
    ended: Arc<AtomicBool>,
    handle: Option<JoinHandle<()>>,
}

/// A worker in an event loop. It must be stopped before it is dropped, or it works on.
#[must_use]
pub struct Employed(SubscriberId);

impl EventThread {
    /// Starts a thread of this name.
    ///
    /// # Errors
    /// No thread or file descriptor left.
    pub fn start(name: &str) -> io::Result<EventThread> {
        let failed = |error: Error| io::Error::other(error.to_string());
        let (sender, receiver) = std::sync::mpsc::channel();
        let ended = Arc::new(AtomicBool::new(false));
        let seen_ended = ended.clone();
        // The manager cannot be sent to another thread, so it is made on its own.
        let handle =
            thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(move || {
                match EventManager::<Box<dyn Worker>>::new() {
                    Ok(manager) => {
                        let _ = sender.send(Ok(manager.remote_endpoint()));
                        run(manager, &seen_ended);
                    }
                    Err(error) => {
                        let _ = sender.send(Err(error));
                    }
                }
            })?;
        let endpoint = receiver
            .recv()
            .map_err(|_| io::Error::other("an event thread did not start"))?
            .map_err(failed)?;
        Ok(EventThread { endpoint, ended, handle: Some(handle) })
    }

    /// Gives it a worker.
    ///
    /// # Errors
    /// The thread has ended.
    pub fn employ(&self, worker: Box<dyn Worker>) -> Result<Employed, Error> {
        self.endpoint.call_blocking(move |ops| Ok(Employed(ops.add_subscriber(worker))))
    }

    /// Takes a worker out and stops it. When this returns it does nothing any more and is gone.
    pub fn dismiss(&self, Employed(id): Employed) {
        match self.endpoint.call_blocking(move |ops| ops.remove_subscriber(id)) {
            Ok(mut worker) => worker.stop(),
            // A thread that has ended works for nobody.
            Err(error) => log::debug!("virtio: a worker was gone already: {error}"),
        }
    }
}

impl Drop for EventThread {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // Fails only where the thread is awake anyway.
        let _ = self.endpoint.kick();
        if let Some(handle) = self.handle.take() {
            // A thread that panicked has said so.
            let _ = handle.join();
        }
    }
}

fn run(mut manager: EventManager<Box<dyn Worker>>, ended: &AtomicBool) {
    while !ended.load(Ordering::Acquire) {
        match manager.run() {
            Ok(_) => {}
            Err(Error::Epoll(errno)) if errno.errno() == libc::EINTR => {}
            // A bug, as a panic is, and dealt with as one.
            Err(error) => {
                log::error!("virtio: an event loop failed: {error}");
                resume_unwind(Box::new(error));
            }
        }
    }
}

/// Adds a file descriptor to the event loop, to be told by `data` when it is readable. It can only
/// fail without memory, and then the event would never come: say so.
pub fn watch(ops: &mut EventOps, fd: &impl AsRawFd, data: u32) {
    let fd = fd.as_raw_fd();
    if let Err(error) = ops.add(Events::with_data_raw(fd, data, EventSet::IN)) {
        log::warn!("virtio: file descriptor {fd} cannot be watched: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;
    use vmm_sys_util::eventfd::EventFd;

    struct Listener(EventFd, Sender<&'static str>);

    impl MutEventSubscriber for Listener {
        fn init(&mut self, ops: &mut EventOps) {
            watch(ops, &self.0, 7);
        }
        fn process(&mut self, events: Events, _ops: &mut EventOps) {
            assert_eq!(events.data(), 7);
            self.0.read().unwrap();
            self.1.send("rung").unwrap();
        }
    }

    impl Worker for Listener {
        fn stop(&mut self) {
            self.1.send("stopped").unwrap();
        }
    }

    #[test]
    fn a_worker_hears_its_bell_until_it_is_dismissed() {
        let thread = EventThread::start("test").unwrap();
        let bell = EventFd::new(libc::EFD_NONBLOCK).unwrap();
        let (sender, receiver) = channel();
        let worker = Listener(bell.try_clone().unwrap(), sender);
        let employed = thread.employ(Box::new(worker)).unwrap();
        bell.write(1).unwrap();
        assert_eq!(receiver.recv_timeout(Duration::from_secs(10)), Ok("rung"));
        thread.dismiss(employed);
        assert_eq!(receiver.recv(), Ok("stopped"));
        bell.write(1).unwrap();
        assert!(receiver.recv().is_err(), "the worker is gone");
    }
}
