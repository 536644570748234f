//! The two directions of an interface: what is done when a bell rings or the link has something.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};

use super::Shared;
use super::header::{Header, Offloads, SIZE};
use super::link::{self, Link, MAX_FRAME, Received};
use super::window::Window;
use crate::vm::devices::virtio::chain::{self, Chain};
use crate::vm::devices::virtio::event_thread::{Worker, watch};
use crate::vm::devices::virtio::interrupt::Interrupt;
use crate::vm::devices::virtio::iovecs::{IoVecs, MOST};
use crate::vm::devices::virtio::queue::{QueueError, Virtqueue};
use crate::vm::devices::virtio::throttle::Throttle;

/// After so many rounds of sending others get their turn.
const ROUNDS: u32 = 8;
/// The least Ethernet frame: two addresses and a type.
const LEAST_FRAME: usize = 14;

/// Receiving: from the link into buffers that the driver has lent.
pub(super) struct Receiver {
    pub(super) queue: Virtqueue,
    pub(super) throttle: Throttle,
    /// What the driver takes.
    pub(super) offloads: Offloads,
    /// How many bytes a frame may need, header included.
    pub(super) needed: u64,
    /// Whether a frame may be spread over several chains (VIRTIO_NET_F_MRG_RXBUF).
    pub(super) merges: bool,
    pub(super) window: Window,
    pub(super) room: IoVecs,
}

impl Receiver {
    /// Receives until there is nothing, no room, or it is others' turn. An error of the link is for
    /// the caller.
    fn serve(
        &mut self,
        shared: &Shared,
        link: &mut dyn Link,
    ) -> Result<std::io::Result<()>, QueueError> {
        self.queue.disable_kicks()?;
        for _ in 0..self.queue.size() {
            if !self.throttle.admits() {
                return self.queue.notify().map(Ok);
            }
            let counter = &shared.counters.received;
            while !self.window.fill(&mut self.queue, self.needed, || counter.dropped())? {
                self.queue.notify()?;
                // Suspended until the driver lends more.
                if !self.queue.enable_kicks()? {
                    return Ok(Ok(()));
                }
            }
            self.window.room(&mut self.room, self.merges);
            let mut header = Header::default();
            match link.receive(&mut header, self.room.all()) {
                Ok(Received::Frame(length)) => {
                    match header.checked_from_host(length, self.offloads) {
                        Some(checked) => {
                            self.throttle.take(length as u64);
                            self.window.give(&mut self.queue, checked, length)?;
                            counter.passed(length, checked.is_segmented());
                        }
                        // From before the driver said what it takes.
                        None => counter.dropped(),
                    }
                }
                Ok(Received::TooLong) => counter.dropped(),
                Ok(Received::Nothing) => return self.queue.notify().map(Ok),
                Err(error) => return self.queue.notify().map(|()| Err(error)),
            }
        }
        // There may be more, and no event comes for it.
        self.queue.kick_self();
        self.queue.notify().map(Ok)
    }
}

/// Sending: from the driver's buffers to the link.
pub(super) struct Sender {
    pub(super) queue: Virtqueue,
    pub(super) throttle: Throttle,
    /// What the device does for the driver.
    pub(super) offloads: Offloads,
    pub(super) chain: Chain,
    pub(super) frame: IoVecs,
    pub(super) header: Header,
    /// A frame that the link did not take, or not all of it.
    pub(super) pending: Option<usize>,
}

impl Sender {
    fn serve(
        &mut self,
        shared: &Shared,
        link: &mut dyn Link,
    ) -> Result<std::io::Result<()>, QueueError> {
        let mut outcome = Ok(());
        for _ in 0..ROUNDS {
            self.queue.disable_kicks()?;
            for _ in 0..self.queue.size() {
                let next = match self.pending.take() {
                    None if !self.throttle.admits() => {
                        return self.queue.notify().map(|()| outcome);
                    }
                    None if !self.queue.pop(&mut self.chain)? => break,
                    None => self.prepare(),
                    pending => pending,
                };
                let counter = &shared.counters.sent;
                match next.map(|length| (length, link.send(&self.header, self.frame.rest()))) {
                    Some((length, Ok(true))) => {
                        self.throttle.take(length as u64);
                        counter.passed(length, self.header.is_segmented());
                    }
                    Some((length, Ok(false))) => {
                        self.pending = Some(length);
                        return self.queue.notify().map(|()| outcome);
                    }
                    Some((_, Err(error))) => {
                        counter.dropped();
                        if link::is_gone(&error) {
                            outcome = Err(error);
                        }
                    }
                    None => {
                        // Nothing comes for free, not even nonsense.
                        self.throttle.take(0);
                        counter.dropped();
                    }
                }
                self.queue.push(self.chain.head(), 0)?;
            }
            self.queue.notify()?;
            if !self.queue.enable_kicks()? {
                return Ok(outcome);
            }
        }
        self.queue.kick_self();
        Ok(outcome)
    }

    /// Takes the frame of the chain apart; its length, or `None` where it cannot be sent.
    fn prepare(&mut self) -> Option<usize> {
        let readable = self.chain.readable();
        let length = usize::try_from(chain::total(readable)).ok()?.checked_sub(SIZE)?;
        if !(LEAST_FRAME..=MAX_FRAME).contains(&length) {
            return None;
        }
        let mut header = Header::default();
        chain::read(self.queue.memory(), readable, 0, &mut header.0)?;
        self.header = header.checked(length, self.offloads)?;
        let frame = chain::slice(readable, SIZE as u64, length as u64);
        // One for the link's own.
        let fits = self.frame.fill(self.queue.memory(), frame) && self.frame.all().len() < MOST;
        fits.then_some(length)
    }
}

/// What an active interface does.
pub(super) struct Work {
    pub(super) receiver: Option<Receiver>,
    pub(super) sender: Option<Sender>,
    pub(super) shared: Arc<Shared>,
    pub(super) interrupt: Arc<Interrupt>,
    pub(super) broken: bool,
}

const RECEIVE_KICK: u32 = 0;
const RECEIVE_TIMER: u32 = 1;
const SEND_KICK: u32 = 2;
const SEND_TIMER: u32 = 3;
const LINK: u32 = 4;

/// Nobody who held it can have left it in a state that matters.
fn lock(shared: &Shared) -> MutexGuard<'_, Box<dyn Link>> {
    shared.link.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Work {
    fn receive(&mut self) {
        let Some(receiver) = self.receiver.as_mut().filter(|_| self.shared.is_up()) else { return };
        let outcome = receiver.serve(&self.shared, &mut **lock(&self.shared));
        if let Err(error) = &outcome {
            receiver.queue.broken(error);
        }
        self.conclude(outcome);
    }

    fn send(&mut self) {
        let Some(sender) = &mut self.sender else { return };
        let outcome = sender.serve(&self.shared, &mut **lock(&self.shared));
        if let Err(error) = &outcome {
            sender.queue.broken(error);
        }
        self.conclude(outcome);
    }

    fn conclude(&mut self, outcome: Result<std::io::Result<()>, QueueError>) {
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                if self.shared.up.swap(false, Ordering::AcqRel) {
                    let name = &self.shared.name;
                    log::warn!("{name} is gone: {error}: the guest's link is down");
                    self.interrupt.configuration_changed();
                }
            }
            Err(_) => self.broken = true,
        }
    }
}

impl MutEventSubscriber for Work {
    fn init(&mut self, ops: &mut EventOps) {
        if let Some(receiver) = &self.receiver {
            watch(ops, receiver.queue.kick(), RECEIVE_KICK);
            watch(ops, &receiver.throttle, RECEIVE_TIMER);
            // A kick from before was for whoever was here then.
            receiver.queue.kick_self();
        }
        if let Some(sender) = &self.sender {
            watch(ops, sender.queue.kick(), SEND_KICK);
            watch(ops, &sender.throttle, SEND_TIMER);
            sender.queue.kick_self();
        }
        // Edges: a link with packets that the guest has no room for must not wake this thread for
        // ever. Whoever can go on again looks at the link itself.
        let events = EventSet::IN | EventSet::OUT | EventSet::EDGE_TRIGGERED;
        let fd = lock(&self.shared).fd();
        if let Err(error) = ops.add(Events::with_data_raw(fd, LINK, events)) {
            log::warn!("{} cannot be watched: {error}", self.shared.name);
        }
    }

    fn process(&mut self, events: Events, _ops: &mut EventOps) {
        match (events.data(), &mut self.receiver, &mut self.sender) {
            (RECEIVE_KICK, Some(receiver), _) => receiver.queue.take_kicks(),
            (RECEIVE_TIMER, Some(receiver), _) => receiver.throttle.take_expiration(),
            (SEND_KICK, _, Some(sender)) => sender.queue.take_kicks(),
            (SEND_TIMER, _, Some(sender)) => sender.throttle.take_expiration(),
            _ => {}
        }
        if self.broken {
            return;
        }
        if matches!(events.data(), RECEIVE_KICK | RECEIVE_TIMER | LINK) {
            self.receive();
        }
        let gone = events.event_set().intersects(EventSet::ERROR | EventSet::HANG_UP);
        if gone && events.data() == LINK {
            // Whoever waits for buffers would not find out, and no other event comes.
            self.conclude(Ok(Err(std::io::ErrorKind::BrokenPipe.into())));
        }
        let pending = self.sender.as_ref().is_some_and(|sender| sender.pending.is_some());
        let link = events.data() == LINK && pending && !self.broken;
        if link || matches!(events.data(), SEND_KICK | SEND_TIMER) {
            self.send();
        }
    }
}

impl Worker for Work {
    fn stop(&mut self) {
        lock(&self.shared).stop();
    }
}
