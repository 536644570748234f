//! Requests of a queue, put together from what happened to them: the driver's kick, the device taking
//! them, giving them back, and the interrupt that says so.

use std::collections::{BTreeMap, VecDeque};

use super::event::Event;

/// The most requests that wait for the driver to be told of them. A queue has at most 32768 of them in hand,
/// so a device that keeps to the rules stays far below.
const MOST_UNTOLD: usize = 1 << 15;

/// A request and its times, on the monotonic clock in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its descriptor.
    pub head: u16,
    /// When the queue's thread had heard the driver's last kick before it; where there was none yet, when
    /// it was taken.
    pub kicked: u64,
    /// When the device took it.
    pub taken: u64,
    /// When the device gave it back.
    pub done: u64,
    /// When its driver was told; `None`: it wanted no interrupt, or the trace ends before.
    pub told: Option<u64>,
    /// How many bytes the device could read.
    pub readable: u64,
    /// How many it has written.
    pub written: u64,
}

impl Request {
    /// When it was over: its driver was told, or could have looked.
    pub fn end(&self) -> u64 {
        self.told.unwrap_or(self.done)
    }
}

/// The requests of one queue.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    kick: Option<u64>,
    in_hand: BTreeMap<u16, Request>,
    untold: VecDeque<Request>,
}

impl Requests {
    /// Takes the queue's next event; hands those requests that are over to `each`.
    pub fn take(&mut self, event: &Event, mut each: impl FnMut(Request)) {
        match *event {
            Event::Kick { at } => self.kick = Some(at),
            Event::Taken { at, head, readable, .. } => {
                // What is held back for want of resources was kicked before others.
                let kicked = self.kick.map_or(at, |kick| kick.min(at));
                let (done, told, written) = (at, None, 0);
                let request = Request { head, kicked, taken: at, done, told, readable, written };
                self.in_hand.insert(head, request);
            }
            Event::Done { at, head, written } => {
                // One that was taken before the trace began, or in a part of it that was dropped.
                let Some(request) = self.in_hand.remove(&head) else { return };
                self.untold.push_back(Request { done: at.max(request.taken), written, ..request });
                if self.untold.len() > MOST_UNTOLD
                    && let Some(oldest) = self.untold.pop_front()
                {
                    each(oldest);
                }
            }
            Event::Notified { at, interrupt } => {
                for request in self.untold.drain(..) {
                    let told = interrupt.then_some(at.max(request.done));
                    each(Request { told, ..request });
                }
            }
            Event::Exit(_) | Event::Call(_) => {}
        }
    }

    /// Hands those to `each` that were done and whose drivers were not told.
    pub fn finish(&mut self, each: impl FnMut(Request)) {
        self.untold.drain(..).for_each(each);
    }

    /// How many were taken and never given back.
    pub fn in_hand(&self) -> usize {
        self.in_hand.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(events: &[Event]) -> (Vec<Request>, Requests) {
        let (mut found, mut requests) = (Vec::new(), Requests::default());
        events.iter().for_each(|event| requests.take(event, |request| found.push(request)));
        (found, requests)
    }

    fn taken(at: u64, head: u16) -> Event {
        Event::Taken { at, head, readable: 16, writable: 512 }
    }

    fn done(at: u64, head: u16) -> Event {
        Event::Done { at, head, written: 513 }
    }

    #[test]
    fn a_request_lasts_from_its_kick_to_its_interrupt() {
        let notified = Event::Notified { at: 9, interrupt: true };
        let kick = Event::Kick { at: 1 };
        let (found, _) = run(&[kick, taken(2, 7), taken(3, 8), done(5, 8), done(6, 7), notified]);
        let times = |r: &Request| (r.head, r.kicked, r.taken, r.done, r.told);
        let found: Vec<_> = found.iter().map(times).collect();
        assert_eq!(found, [(8, 1, 3, 5, Some(9)), (7, 1, 2, 6, Some(9))]);
    }

    #[test]
    fn a_driver_that_wants_no_interrupt_is_told_nothing() {
        let quiet = Event::Notified { at: 9, interrupt: false };
        let (found, _) = run(&[taken(2, 7), done(5, 7), quiet]);
        assert_eq!((found[0].told, found[0].end(), found[0].kicked), (None, 5, 2));
    }

    #[test]
    fn what_has_no_beginning_or_no_end_is_no_request() {
        let (found, mut requests) = run(&[done(1, 7), taken(2, 8), taken(3, 9), done(4, 9)]);
        assert!(found.is_empty());
        let mut left = Vec::new();
        requests.finish(|request| left.push(request.head));
        assert_eq!((left, requests.in_hand()), (vec![9], 1));
    }
}
