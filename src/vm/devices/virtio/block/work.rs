//! A disk at work: takes requests from its queues, keeps them in hand while the host does them, and
//! answers. Runs on the disk's own thread.
//!
//! Requests in hand are bounded by the slots of their queue, which are as many as the queue has
//! descriptors; a driver that makes more available waits. Nothing is allocated for a request.

use std::sync::Arc;

use event_manager::{EventOps, Events, MutEventSubscriber};
use virtio_bindings::virtio_blk::VIRTIO_BLK_F_FLUSH;
use vm_memory::GuestMemoryMmap;

use super::backing::Backing;
use super::engine::{Done, Engine, Operation};
use super::request::{self, ID_BYTES, Request, Status};
use super::slot::{Slot, Slots, Step};
use crate::vm::devices::virtio::Activation;
use crate::vm::devices::virtio::chain::{self, Chain};
use crate::vm::devices::virtio::event_thread::{Worker, watch};
use crate::vm::devices::virtio::queue::{QueueError, Virtqueue, has};
use crate::vm::devices::virtio::throttle::Throttle;
use crate::vm::lost_memory;

/// How often queues are served and completions taken before other events get their turn.
const ROUNDS: u32 = 8;
/// What the event loop calls the completions and the rate limit's timer; queues are called by
/// their place.
const COMPLETION: u32 = u32::MAX;
const TIMER: u32 = u32::MAX - 1;

/// The disk's work.
pub(super) struct Work {
    queues: Vec<QueueWork>,
    engine: Box<dyn Engine>,
    throttle: Throttle,
    disk: Disk,
    done: Vec<Done>,
    in_hand: usize,
}

/// What all queues need to know.
struct Disk {
    backing: Arc<Backing>,
    features: u64,
    id: [u8; ID_BYTES],
    /// The driver does not flush: whatever is answered must be durable already.
    write_through: bool,
}

/// One queue and its requests in hand.
struct QueueWork {
    /// Which of the work's queues it is: a part of every token.
    place: u32,
    queue: Virtqueue,
    chain: Chain,
    slots: Slots,
    /// There may be requests that were not looked at yet.
    awake: bool,
    /// Something was given back that the driver was not told of yet.
    answered: bool,
    broken: bool,
}

impl Work {
    pub(super) fn new(
        activation: Activation,
        engine: Box<dyn Engine>,
        throttle: Throttle,
        backing: Arc<Backing>,
        id: [u8; ID_BYTES],
    ) -> Work {
        let features = activation.features;
        let write_through = !has(features, VIRTIO_BLK_F_FLUSH);
        let queues = (0..)
            .zip(activation.queues)
            .map(|(place, queue)| QueueWork {
                place,
                chain: Chain::default(),
                slots: Slots::new(queue.size()),
                queue,
                awake: true,
                answered: false,
                broken: false,
            })
            .collect();
        let disk = Disk { backing, features, id, write_through };
        Work { queues, engine, throttle, disk, done: Vec::new(), in_hand: 0 }
    }

    /// Serves what is awake and takes completions, until nothing is left to do now.
    fn turn(&mut self) {
        for _ in 0..ROUNDS {
            for queue in &mut self.queues {
                let parts = Parts {
                    engine: &mut *self.engine,
                    throttle: &mut self.throttle,
                    disk: &self.disk,
                    in_hand: &mut self.in_hand,
                };
                if let Err(error) = queue.serve(parts) {
                    queue.fail(&error);
                }
            }
            self.engine.commit();
            let any = self.reap();
            self.tell();
            let stuck = self.throttle.is_waiting() || !self.queues.iter().any(QueueWork::can_go_on);
            if !any && stuck {
                return;
            }
        }
        if !self.throttle.is_waiting() {
            for queue in self.queues.iter().filter(|queue| queue.can_go_on()) {
                queue.queue.kick_self();
            }
        }
    }

    /// Answers what the host has done. `false`: nothing.
    fn reap(&mut self) -> bool {
        let mut done = std::mem::take(&mut self.done);
        self.engine.reap(&mut done);
        let any = !done.is_empty();
        for Done { token, result } in done.drain(..) {
            self.in_hand -= 1;
            let (place, slot) = (token >> 16, token & 0xFFFF);
            let place = usize::try_from(place).ok();
            let Some(queue) = place.and_then(|place| self.queues.get_mut(place)) else { continue };
            let parts = Parts {
                engine: &mut *self.engine,
                throttle: &mut self.throttle,
                disk: &self.disk,
                in_hand: &mut self.in_hand,
            };
            if let Err(error) = queue.completed(slot, result, parts) {
                queue.fail(&error);
            }
        }
        self.done = done;
        any
    }

    /// Tells the driver of everything that was given back.
    fn tell(&mut self) {
        for queue in &mut self.queues {
            if std::mem::take(&mut queue.answered)
                && !queue.broken
                && let Err(error) = queue.queue.notify()
            {
                queue.fail(&error);
            }
        }
    }
}

/// What a queue borrows of the disk.
struct Parts<'a> {
    engine: &'a mut dyn Engine,
    throttle: &'a mut Throttle,
    disk: &'a Disk,
    in_hand: &'a mut usize,
}

impl QueueWork {
    fn can_go_on(&self) -> bool {
        self.awake && !self.broken && self.slots.any_free()
    }

    fn fail(&mut self, error: &QueueError) {
        self.broken = true;
        self.queue.broken(error);
    }

    /// Takes requests until there are none, no more can be had in hand, the rate limit says to wait,
    /// or others should have their turn.
    fn serve(&mut self, mut parts: Parts<'_>) -> Result<(), QueueError> {
        if !self.can_go_on() {
            return Ok(());
        }
        self.queue.disable_kicks()?;
        for _ in 0..self.queue.size() {
            if !self.slots.any_free() || !parts.throttle.admits() {
                return Ok(());
            }
            if self.queue.pop(&mut self.chain)? {
                self.begin(&mut parts)?;
            } else if !self.queue.enable_kicks()? {
                self.awake = false;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Begins the request in `chain`.
    fn begin(&mut self, parts: &mut Parts<'_>) -> Result<(), QueueError> {
        let head = self.chain.head();
        let status_at = request::status_at(&self.chain).ok_or(QueueError::NoRoom(head))?.gpa;
        let memory = self.queue.memory();
        let request = request::parse(&self.chain, memory, &parts.disk.backing, parts.disk.features);
        parts.throttle.take(request.map_or(0, Request::bytes));
        let step = match request {
            Err(status) => return self.answer(head, status_at, 0, status),
            Ok(Request::GetId) => {
                let room = chain::total(self.chain.writable()) - 1;
                let id = &parts.disk.id;
                let id = id.get(..usize::try_from(room).unwrap_or(ID_BYTES)).unwrap_or(id);
                let written = chain::write(memory, self.chain.writable(), 0, id);
                let length = u32::try_from(id.len()).unwrap_or(0);
                return match written {
                    Some(()) => self.answer(head, status_at, length, Status::Ok),
                    None => self.answer(head, status_at, 0, Status::IoError),
                };
            }
            Ok(request) => Step::of(request, parts.disk.write_through),
        };
        let Some((number, slot)) = self.slots.take() else { return Err(QueueError::NoRoom(head)) };
        let memory = self.queue.memory();
        let filled = match step {
            Step::Read { .. } => slot.iovecs.fill(memory, request::data_in(&self.chain)),
            Step::Write { .. } => slot.iovecs.fill(memory, request::data_out(&self.chain)),
            _ => true,
        };
        (slot.head, slot.status_at, slot.written, slot.step) = (head, status_at, 0, step);
        if !filled || step.is_over() {
            self.slots.give_back(number);
            let status = if filled { Status::Ok } else { Status::IoError };
            return self.answer(head, status_at, 0, status);
        }
        submit(parts, self.place, number, slot, memory)
    }

    /// Deals with what became of a slot's operation: the next one, or the answer.
    fn completed(
        &mut self,
        number: u32,
        result: i64,
        mut parts: Parts<'_>,
    ) -> Result<(), QueueError> {
        let Some(slot) = self.slots.get(number) else { return Ok(()) };
        if self.broken {
            self.slots.give_back(number);
            return Ok(());
        }
        let outcome = slot.advance(result);
        match outcome {
            None => submit(&mut parts, self.place, number, slot, self.queue.memory()),
            Some(status) => {
                let (head, status_at, written) = (slot.head, slot.status_at, slot.written);
                self.slots.give_back(number);
                self.answer(head, status_at, written, status)
            }
        }
    }

    /// Gives a request back, with its status.
    fn answer(
        &mut self,
        head: u16,
        status_at: u64,
        written: u32,
        status: Status,
    ) -> Result<(), QueueError> {
        chain::write_byte(self.queue.memory(), status_at, status as u8)
            .ok_or(QueueError::Outside("a status byte", status_at))?;
        self.queue.push(head, written.saturating_add(1))?;
        self.answered = true;
        Ok(())
    }
}

/// Has the host do a slot's next step, unless what it would write to the disk was lost.
fn submit(
    parts: &mut Parts<'_>,
    place: u32,
    number: u32,
    slot: &Slot,
    memory: &GuestMemoryMmap,
) -> Result<(), QueueError> {
    if lost_memory::is_lost(memory) {
        return Err(QueueError::MemoryLost);
    }
    let operation: Operation<'_> = slot.operation();
    *parts.in_hand += 1;
    // SAFETY: the slot is not touched until its operation is done, and never moves; the buffers are
    // guest memory, which the queue keeps mapped. The work is not dropped with operations in hand:
    // `stop` waits for them.
    unsafe { parts.engine.submit(place << 16 | number, operation) };
    Ok(())
}

impl MutEventSubscriber for Work {
    fn init(&mut self, ops: &mut EventOps) {
        watch(ops, &self.engine.completion(), COMPLETION);
        watch(ops, &self.throttle, TIMER);
        for queue in &self.queues {
            watch(ops, queue.queue.kick(), queue.place);
            // A kick from before was for whoever was here then.
            queue.queue.kick_self();
        }
    }

    fn process(&mut self, events: Events, _ops: &mut EventOps) {
        match events.data() {
            COMPLETION => self.engine.hear(),
            TIMER => self.throttle.take_expiration(),
            place => {
                let place = usize::try_from(place).ok();
                if let Some(queue) = place.and_then(|place| self.queues.get_mut(place)) {
                    queue.queue.take_kicks();
                    queue.awake = true;
                }
            }
        }
        self.turn();
    }
}

impl Worker for Work {
    /// Waits for what is in hand and answers nobody: the driver has forgotten its requests.
    fn stop(&mut self) {
        let mut done = std::mem::take(&mut self.done);
        self.engine.commit();
        while self.in_hand > 0 {
            self.engine.wait();
            self.engine.reap(&mut done);
            self.in_hand = self.in_hand.saturating_sub(done.len());
            done.clear();
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // Not only where it was dismissed: the host must not write where memory was unmapped.
        self.stop();
    }
}
