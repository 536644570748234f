//! The console's work: output out of the queue, input into it.

use std::sync::Arc;

use event_manager::{EventOps, Events, MutEventSubscriber};

use super::port::Port;
use crate::vm::devices::virtio::chain::{self, Chain};
use crate::vm::devices::virtio::event_thread::{Worker, watch};
use crate::vm::devices::virtio::interrupt::Interrupt;
use crate::vm::devices::virtio::queue::{QueueError, Virtqueue};

/// The most bytes that are taken from a buffer, or put into one, at a time.
const PART: usize = 4096;
/// After so many parts other devices have their turn.
const PARTS: usize = 64;

const RECEIVE: u32 = 0;
const TRANSMIT: u32 = 1;
/// There is input.
const BELL: u32 = 2;
/// There is room for output again.
const ROOM: u32 = 3;

pub(super) struct Work {
    /// Buffers for input.
    receive: Virtqueue,
    /// Buffers with output.
    transmit: Virtqueue,
    port: Arc<Port>,
    interrupt: Arc<Interrupt>,
    chain: Chain,
    /// The buffer whose output is being taken, as far as it has been: it may be larger than the room
    /// that there is.
    sent: Chain,
    taken: Option<u64>,
    broken: bool,
}

impl Work {
    pub(super) fn new(
        receive: Virtqueue,
        transmit: Virtqueue,
        port: Arc<Port>,
        interrupt: Arc<Interrupt>,
    ) -> Work {
        let (chain, sent) = Default::default();
        Work { receive, transmit, port, interrupt, chain, sent, taken: None, broken: false }
    }

    /// Takes output, as far as there is room for it.
    fn output(&mut self) -> Result<(), QueueError> {
        self.transmit.disable_kicks()?;
        for _ in 0..PARTS {
            let Some(taken) = self.next_output()? else { return self.transmit.notify() };
            let room = self.port.output().room();
            if room == 0 {
                // It goes on when there is some.
                return self.transmit.notify();
            }
            self.take_part(taken, room)?;
        }
        self.transmit.kick_self();
        self.transmit.notify()
    }

    /// How much of the current buffer was taken. `None`: there is no buffer.
    fn next_output(&mut self) -> Result<Option<u64>, QueueError> {
        while self.taken.is_none() {
            if self.transmit.pop(&mut self.sent)? {
                self.taken = Some(0);
            } else if !self.transmit.enable_kicks()? {
                break;
            }
        }
        Ok(self.taken)
    }

    fn take_part(&mut self, taken: u64, room: usize) -> Result<(), QueueError> {
        let mut bytes = [0; PART];
        let total = chain::total(self.sent.readable());
        let left = usize::try_from(total.saturating_sub(taken)).unwrap_or(usize::MAX);
        // A little more than there is room for, rather than half a buffer: Linux waits for each of its
        // own, a page at most, with interrupts off and without any exit.
        let part = bytes.get_mut(..left.min(PART)).unwrap_or_default();
        // What is no memory says nothing, and what follows it neither.
        let read = chain::read(self.transmit.memory(), self.sent.readable(), taken, part);
        let part = if read.is_some() { &*part } else { &[] };
        let ends = part.len() == left || part.is_empty();
        self.taken = if ends { None } else { Some(taken + part.len() as u64) };
        let fills = part.len() >= room;
        if fills {
            self.port.output().put(part);
            // The guest is throttled at its next exit. It must have one before it waits for the next
            // buffer: an interrupt.
            self.interrupt.buffers_used();
        }
        if ends {
            self.transmit.push(self.sent.head(), 0)?;
        }
        if !fills {
            // After the buffer was given back: the guest goes on meanwhile, and may want no interrupt
            // any more.
            self.port.output().put(part);
        }
        Ok(())
    }

    /// Gives the guest input, as far as it has buffers for it.
    fn input(&mut self) -> Result<(), QueueError> {
        self.receive.disable_kicks()?;
        for _ in 0..PARTS {
            if !self.port.has_input() {
                return self.receive.notify();
            }
            if !self.receive.pop(&mut self.chain)? {
                if self.receive.enable_kicks()? {
                    continue;
                }
                return self.receive.notify();
            }
            let mut bytes = [0; PART];
            let buffers = self.chain.writable();
            let most = usize::try_from(chain::total(buffers)).unwrap_or(PART).min(PART);
            let part = self.port.peek(bytes.get_mut(..most).unwrap_or_default());
            // A buffer that is no memory gets nothing; the input is for the next.
            let written = chain::write(self.receive.memory(), buffers, 0, part);
            let written = written.map_or(0, |()| part.len());
            self.port.take(written);
            self.receive.push(self.chain.head(), u32::try_from(written).unwrap_or(0))?;
        }
        self.receive.kick_self();
        self.receive.notify()
    }
}

impl MutEventSubscriber for Work {
    fn init(&mut self, ops: &mut EventOps) {
        watch(ops, self.receive.kick(), RECEIVE);
        watch(ops, self.transmit.kick(), TRANSMIT);
        watch(ops, self.port.bell(), BELL);
        watch(ops, self.port.output().has_room(), ROOM);
        // A kick from before was for whoever was here then.
        self.receive.kick_self();
        self.transmit.kick_self();
    }

    fn process(&mut self, events: Events, _ops: &mut EventOps) {
        match events.data() {
            RECEIVE => self.receive.take_kicks(),
            TRANSMIT => self.transmit.take_kicks(),
            // Only wake-ups: how often they were rung does not matter.
            BELL => drop(self.port.bell().read()),
            _ => drop(self.port.output().has_room().read()),
        }
        if self.broken {
            return;
        }
        let (done, queue) = match events.data() {
            RECEIVE | BELL => (self.input(), &self.receive),
            _ => (self.output(), &self.transmit),
        };
        if let Err(error) = done {
            self.broken = true;
            queue.broken(&error);
        }
    }
}

impl Worker for Work {}
