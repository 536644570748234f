//! The requests of a queue, added up.

use crate::trace::cost::Histogram;
use crate::trace::event::Event;
use crate::trace::requests::{Request, Requests};

/// A queue of a virtio device.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    /// How many kicks its thread has heard.
    pub kicks: u64,
    /// How many interrupts it has raised.
    pub interrupts: u64,
    /// How many requests were done.
    pub requests: u64,
    /// How many bytes its device could read.
    pub readable: u64,
    /// How many it has written.
    pub written: u64,
    /// From the kick that was heard to the request's taking.
    pub waiting: Histogram,
    /// From there until it was given back.
    pub working: Histogram,
    /// From the kick to the interrupt, or where none was wanted until it was given back.
    pub whole: Histogram,
    /// How long all of them took, from the kick to the end, in nanoseconds.
    pub total: u64,
    /// The one that took longest.
    pub slowest: Option<Request>,
    pairing: Requests,
}

impl Queue {
    pub(super) fn take(&mut self, event: &Event) {
        match event {
            Event::Kick { .. } => self.kicks += 1,
            Event::Notified { interrupt: true, .. } => self.interrupts += 1,
            _ => {}
        }
        let mut pairing = std::mem::take(&mut self.pairing);
        pairing.take(event, |request| self.add(request));
        self.pairing = pairing;
    }

    pub(super) fn finish(&mut self) {
        let mut pairing = std::mem::take(&mut self.pairing);
        pairing.finish(|request| self.add(request));
        self.pairing = pairing;
    }

    fn add(&mut self, request: Request) {
        let whole = request.end().saturating_sub(request.kicked);
        self.requests += 1;
        self.readable = self.readable.saturating_add(request.readable);
        self.written = self.written.saturating_add(request.written);
        self.waiting.add(request.taken.saturating_sub(request.kicked));
        self.working.add(request.done.saturating_sub(request.taken));
        self.whole.add(whole);
        self.total = self.total.saturating_add(whole);
        let longest = |slowest: &Request| slowest.end().saturating_sub(slowest.kicked);
        if self.slowest.as_ref().is_none_or(|slowest| longest(slowest) < whole) {
            self.slowest = Some(request);
        }
    }

    /// How many were taken and never given back.
    pub fn in_hand(&self) -> usize {
        self.pairing.in_hand()
    }
}
