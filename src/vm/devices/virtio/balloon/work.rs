//! The balloon's work: pages in and out, statistics, reports of free pages.

use std::sync::{Arc, Mutex, PoisonError};

use event_manager::{EventOps, Events, MutEventSubscriber};

use super::control::{Control, Statistics};
use crate::vm::devices::virtio::chain::{self, Chain};
use crate::vm::devices::virtio::event_thread::{Worker, watch};
use crate::vm::devices::virtio::queue::{QueueError, Virtqueue};
use crate::vm::reclaim::Reclaim;

/// A page number's unit, whatever the guest's own pages are (section 5.5.6).
const PAGE_SHIFT: u32 = 12;
/// The most page numbers of one chain that are looked at; Linux sends 256.
const MAX_PAGES: usize = 1024;
/// The most statistics that are looked at; Linux has 16.
const MAX_STATISTICS: usize = 64;
/// A tag of two bytes and a value of eight.
const STATISTIC: usize = 10;
/// The most chains of a queue before the others have their turn: the host may take its time to take
/// a large range back.
const CHAINS: usize = 8;

const INFLATE: u16 = 0;
/// Not a queue: the host wants statistics.
const BELL: u32 = u32::MAX;

pub(super) struct Work {
    queues: Vec<Virtqueue>,
    statistics: Option<u16>,
    reporting: Option<u16>,
    control: Arc<Control>,
    /// Nobody else wants it while this works: a device has one worker at a time.
    reclaim: Arc<Mutex<Reclaim>>,
    chain: Chain,
    /// The buffer for statistics, which goes back when new ones are wanted.
    held: Option<u16>,
    broken: bool,
}

impl Work {
    pub(super) fn new(
        queues: Vec<Virtqueue>,
        (statistics, reporting): (Option<u16>, Option<u16>),
        control: Arc<Control>,
        reclaim: Arc<Mutex<Reclaim>>,
    ) -> Work {
        let chain = Chain::default();
        Work { queues, statistics, reporting, control, reclaim, chain, held: None, broken: false }
    }

    fn serve(&mut self, at: usize) -> Result<(), QueueError> {
        let Some(queue) = self.queues.get_mut(at) else { return Ok(()) };
        let index = queue.index();
        let reclaim = &mut *self.reclaim.lock().unwrap_or_else(PoisonError::into_inner);
        queue.disable_kicks()?;
        let mut taken = 0;
        loop {
            if taken == CHAINS {
                queue.kick_self();
                break;
            }
            if !queue.pop(&mut self.chain)? {
                if queue.enable_kicks()? {
                    continue;
                }
                break;
            }
            taken += 1;
            if Some(index) == self.statistics {
                // One at a time is the rule; another one before its turn goes back at once.
                self.control.set_statistics(read_statistics(queue, &self.chain));
                if let Some(earlier) = self.held.replace(self.chain.head()) {
                    queue.push(earlier, 0)?;
                }
                continue;
            }
            let given = if index == INFLATE {
                inflate(reclaim, queue, &self.chain)
            } else if Some(index) == self.reporting {
                report(reclaim, queue, &self.chain)
            } else {
                // Deflate: the host provides pages as they are touched.
                0
            };
            self.control.add_given_back(given);
            queue.push(self.chain.head(), 0)?;
        }
        queue.notify()
    }

    /// Gives the buffer for statistics back, to be filled anew.
    fn ask(&mut self) -> Result<(), QueueError> {
        let wanted = self.statistics;
        let queue = self.queues.iter_mut().find(|queue| Some(queue.index()) == wanted);
        if let (Some(queue), Some(head)) = (queue, self.held.take()) {
            queue.push(head, 0)?;
            queue.notify()?;
        }
        Ok(())
    }
}

/// Takes the pages of a chain of page numbers; returns how many bytes the host got. A page that is no
/// memory is nobody's.
fn inflate(reclaim: &mut Reclaim, queue: &Virtqueue, chain: &Chain) -> u64 {
    let mut given = 0;
    let mut run = 0..0_u64;
    let mut give = |run: &std::ops::Range<u64>| {
        let (gpa, len) = (run.start << PAGE_SHIFT, (run.end - run.start) << PAGE_SHIFT);
        given += reclaim.give_back(queue.memory(), gpa, len).unwrap_or(0);
    };
    for index in 0..MAX_PAGES {
        let mut page = [0; 4];
        if chain::read(queue.memory(), chain.readable(), index as u64 * 4, &mut page).is_none() {
            break;
        }
        let page = u64::from(u32::from_le_bytes(page));
        // Linux's page numbers mostly go down.
        if page == run.end {
            run.end += 1;
        } else if page + 1 == run.start {
            run.start = page;
        } else {
            give(&run);
            run = page..page + 1;
        }
    }
    give(&run);
    given
}

/// Takes ranges that the guest has no use for (section 5.5.6.7).
fn report(reclaim: &mut Reclaim, queue: &Virtqueue, chain: &Chain) -> u64 {
    let mut give = |range: &chain::Buffer| {
        reclaim.give_back(queue.memory(), range.gpa, range.len.into()).unwrap_or(0)
    };
    chain.writable().iter().map(&mut give).sum()
}

fn read_statistics(queue: &Virtqueue, chain: &Chain) -> Statistics {
    let mut statistics = Statistics::new();
    for index in 0..MAX_STATISTICS {
        let mut entry = [0; STATISTIC];
        let at = (index * STATISTIC) as u64;
        if chain::read(queue.memory(), chain.readable(), at, &mut entry).is_none() {
            break;
        }
        let [a, b, value @ ..] = entry;
        statistics.insert(u16::from_le_bytes([a, b]), u64::from_le_bytes(value));
    }
    statistics
}

impl MutEventSubscriber for Work {
    fn init(&mut self, ops: &mut EventOps) {
        for (at, queue) in (0..).zip(&self.queues) {
            watch(ops, queue.kick(), at);
            // A kick from before was for whoever was here then.
            queue.kick_self();
        }
        watch(ops, self.control.bell(), BELL);
    }

    fn process(&mut self, events: Events, _ops: &mut EventOps) {
        let at = usize::try_from(events.data()).unwrap_or(usize::MAX);
        if events.data() == BELL {
            // Only a wake-up: how often it was rung does not matter.
            let _ = self.control.bell().read();
        } else if let Some(queue) = self.queues.get(at) {
            queue.take_kicks();
        }
        if self.broken {
            return;
        }
        let done = if events.data() == BELL { self.ask() } else { self.serve(at) };
        if let (Err(error), Some(queue)) = (done, self.queues.get(at).or(self.queues.first())) {
            self.broken = true;
            queue.broken(&error);
        }
    }
}

impl Worker for Work {}
