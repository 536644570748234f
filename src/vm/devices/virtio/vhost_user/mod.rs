//! The front end of vhost-user: a device whose queues another program serves.
//!
//! That program, the back end, maps the guest's memory, hears the driver's kicks itself (it is given the
//! queues' bells), and rings for interrupts, which are passed on here, for the transport has a register
//! to set first. It is trusted with the guest's memory and with nothing else: whatever is asked of
//! it is asked with a time limit, and when it does not answer, answers nonsense or ends, it is ended and
//! the device is broken. The machine goes on.
//!
//! | file | idea |
//! |---|---|
//! | `attendant` | the time limit; what the back end says; whether it is still there |
//! | `calls` | its interrupts, passed on |

mod attendant;
mod calls;

use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use vhost::vhost_user::message::{
    VhostUserHeaderFlag, VhostUserProtocolFeatures, VhostUserVirtioFeatures,
};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::Activation;
use super::event_thread::{Employed, EventThread};
use super::queue::Virtqueue;
use crate::file_server::FileServer;
use attendant::{Attendant, Deadline, Shared};
use calls::Calls;

/// How long the back end may take for an answer. It may have to wait for a disk first.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What a back end must have: what the transport offers for every device, and vhost-user's extensions.
const NEEDED: u64 = 1 << VIRTIO_F_VERSION_1
    | 1 << VIRTIO_RING_F_EVENT_IDX
    | 1 << VIRTIO_RING_F_INDIRECT_DESC
    | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();

/// Why a back end does not do what it is asked for.
#[derive(Debug, Error)]
pub enum Error {
    /// It does not answer, or wrongly.
    #[error("its server did not {0}: {1}")]
    Exchange(&'static str, #[source] vhost::Error),
    /// It lacks features.
    #[error("its server lacks features that are needed ({0:#x} of {NEEDED:#x} are there)")]
    Features(u64),
    /// It has ended, or was ended.
    #[error("its server has ended{0}")]
    Ended(String),
    /// Memory that is not one file, or rings that are not in it.
    #[error("the guest's memory cannot be shown to its server")]
    Memory,
    /// No file descriptor, or thread, left.
    #[error("the host is out of file descriptors or threads: {0}")]
    Resources(#[from] io::Error),
}

/// A connection to a back end.
pub struct BackEnd {
    front_end: Frontend,
    connection: UnixStream,
    deadline: Arc<Deadline>,
    shared: Arc<Shared>,
    thread: Arc<EventThread>,
    attendant: Option<Employed>,
    /// The queues that it serves now, and whoever passes its interrupts on.
    active: Option<(Vec<u16>, Employed)>,
}

impl BackEnd {
    /// Agrees with the back end behind `connection` on how to talk. `name` is what it goes by in messages;
    /// `server` is its process, if it is ours; a thread's event loop watches it; `patience` is how long
    /// an answer may take.
    ///
    /// # Errors
    /// It does not answer, or is of another kind.
    pub fn connect(
        name: String,
        connection: UnixStream,
        queues: usize,
        server: Option<FileServer>,
        thread: Arc<EventThread>,
        patience: Duration,
    ) -> Result<BackEnd, Error> {
        let front_end = Frontend::from_stream(connection.try_clone()?, queues as u64);
        let deadline = Arc::new(Deadline::new(patience)?);
        let shared = Arc::new(Shared::new(name, server));
        let attendant = Attendant::new(connection.try_clone()?, deadline.clone(), shared.clone());
        let attendant = thread.employ(Box::new(attendant)).map_err(io::Error::other)?;
        let mut back_end = BackEnd {
            front_end,
            connection,
            deadline,
            shared,
            thread,
            attendant: Some(attendant),
            active: None,
        };
        match back_end.negotiate() {
            Ok(()) => {
                back_end.shared.begin();
                Ok(back_end)
            }
            Err(error) => Err(back_end.give_up(error)),
        }
    }

    fn negotiate(&mut self) -> Result<(), Error> {
        self.ask("begin", |back_end| back_end.set_owner())?;
        let features = self.ask("tell its features", |back_end| back_end.get_features())?;
        if features & NEEDED != NEEDED {
            return Err(Error::Features(features & NEEDED));
        }
        // Whether it did what it was asked for is told for every request.
        let wanted = VhostUserProtocolFeatures::REPLY_ACK;
        let offered = self
            .ask("tell its protocol features", VhostUserFrontend::get_protocol_features)?
            & wanted;
        self.ask("agree on protocol features", |back_end| back_end.set_protocol_features(offered))?;
        if offered == wanted {
            self.front_end.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
        }
        Ok(())
    }

    /// Hands the queues over to the back end.
    ///
    /// # Errors
    /// It does not take them: it is ended.
    pub fn start(&mut self, activation: Activation) -> Result<(), Error> {
        let Activation { memory, queues, interrupt, features } = activation;
        if self.shared.is_lost() {
            return Err(Error::Ended(String::new()));
        }
        let descriptor = |_: &Virtqueue| EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC);
        let calls = queues.iter().map(descriptor).collect::<io::Result<Vec<_>>>()?;
        let served = queues.iter().map(Virtqueue::index).collect();
        let begun = self.hand_over(&memory, &queues, &calls, features).and_then(|()| {
            let calls = Calls::new(queues, calls, interrupt.clone());
            Ok(self.thread.employ(Box::new(calls)).map_err(io::Error::other)?)
        });
        match begun {
            Ok(calls) => {
                self.shared.serve(Some(interrupt));
                self.active = Some((served, calls));
                Ok(())
            }
            Err(error) => {
                let error = self.give_up(error);
                log::error!("{}: {error}", self.shared.name());
                Err(error)
            }
        }
    }

    fn hand_over(
        &mut self,
        memory: &GuestMemoryMmap,
        queues: &[Virtqueue],
        calls: &[EventFd],
        features: u64,
    ) -> Result<(), Error> {
        let features = features | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
        self.ask("agree on features", |back_end| back_end.set_features(features))?;
        let regions = memory.iter().map(VhostUserMemoryRegionInfo::from_guest_region);
        let regions = regions.collect::<Result<Vec<_>, _>>().map_err(|_| Error::Memory)?;
        self.ask("map the guest's memory", |back_end| back_end.set_mem_table(&regions))?;
        for (queue, call) in queues.iter().zip(calls) {
            let index = usize::from(queue.index());
            let places = places(memory, queue).ok_or(Error::Memory)?;
            let kick = queue.kick();
            self.ask("take a queue", |back_end| {
                back_end.set_vring_num(index, queue.size())?;
                back_end.set_vring_base(index, 0)?;
                back_end.set_vring_addr(index, &places)?;
                back_end.set_vring_call(index, call)?;
                back_end.set_vring_kick(index, kick)
            })?;
        }
        for queue in queues {
            let index = usize::from(queue.index());
            self.ask("start a queue", |back_end| back_end.set_vring_enable(index, true))?;
            // Buffers may have been made available before.
            queue.kick_self();
        }
        Ok(())
    }

    /// Takes the queues back. When this returns the back end neither reads nor writes guest memory on
    /// account of them: it has said so, or was ended.
    pub fn stop(&mut self) {
        let Some((queues, calls)) = self.active.take() else { return };
        self.shared.serve(None);
        for queue in queues {
            if self.shared.is_lost() {
                break;
            }
            let index = usize::from(queue);
            let stopped = self.ask("stop a queue", |back_end| back_end.get_vring_base(index));
            if let Err(error) = stopped {
                let error = self.give_up(error);
                log::error!("{}: {error}", self.shared.name());
            }
        }
        // One that was lost by itself may still have memory mapped until it is gone.
        if self.shared.is_lost() {
            self.shared.end();
        }
        self.thread.dismiss(calls);
    }

    fn ask<T>(
        &mut self,
        what: &'static str,
        exchange: impl FnOnce(&mut Frontend) -> Result<T, vhost::Error>,
    ) -> Result<T, Error> {
        self.deadline.begin()?;
        let answer = exchange(&mut self.front_end);
        self.deadline.end();
        answer.map_err(|error| Error::Exchange(what, error))
    }

    /// Ends a back end that went wrong; returns what to say.
    fn give_up(&mut self, error: Error) -> Error {
        // The connection is of no use any more, whichever message failed.
        let _ = self.connection.shutdown(Shutdown::Both);
        self.shared.lose();
        match self.shared.end() {
            words if words.is_empty() => error,
            words => Error::Ended(format!(": {words}")),
        }
    }
}

impl Drop for BackEnd {
    fn drop(&mut self) {
        self.stop();
        // Its end is wanted, and no news.
        self.shared.lose();
        let _ = self.connection.shutdown(Shutdown::Both);
        if let Some(attendant) = self.attendant.take() {
            self.thread.dismiss(attendant);
        }
    }
}

/// Where this process has a queue's parts mapped: that is how the back end is told of them.
fn places(memory: &GuestMemoryMmap, queue: &Virtqueue) -> Option<VringConfigData> {
    let rings = queue.rings();
    let entries = usize::from(queue.size());
    // As a whole, in one mapping.
    let place = |gpa: u64, bytes: usize| {
        let slice = memory.get_slice(GuestAddress(gpa), bytes).ok()?;
        Some(slice.ptr_guard().as_ptr() as u64)
    };
    Some(VringConfigData {
        queue_max_size: queue.size(),
        queue_size: queue.size(),
        flags: 0,
        desc_table_addr: place(rings.descriptors, 16 * entries)?,
        used_ring_addr: place(rings.used, 6 + 8 * entries)?,
        avail_ring_addr: place(rings.available, 6 + 2 * entries)?,
        log_addr: None,
    })
}
