//! A ring of events between the one thread that makes them and the one that writes them out.
//!
//! Its memory is reserved when it is made. Whoever makes events never waits and takes no lock: where the
//! ring is full an event is dropped, and counted.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use vmm_sys_util::eventfd::EventFd;

use super::event::{WORDS, Words};

/// The ring itself.
pub struct Ring {
    /// So many events, a power of two, of [`WORDS`] each.
    slots: Box<[AtomicU64]>,
    capacity: u64,
    /// How many events were ever put in.
    head: AtomicU64,
    /// How many were taken out.
    tail: AtomicU64,
    dropped: AtomicU64,
    /// Somebody puts events in.
    in_use: AtomicBool,
    /// Rung when there is something worth writing.
    bell: Arc<EventFd>,
}

impl Ring {
    /// A ring for `capacity` events, rounded up to a power of two, that rings `bell` whenever half of it
    /// was filled.
    pub fn new(capacity: u32, bell: Arc<EventFd>) -> Ring {
        let capacity = capacity.max(2).next_power_of_two();
        let slots = zeroes(usize::try_from(capacity).unwrap_or(2) * WORDS);
        Ring {
            slots,
            capacity: capacity.into(),
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            in_use: AtomicBool::new(false),
            bell,
        }
    }

    /// The end that events are put in at. `None` while there is one: events come from one place.
    pub fn writer(self: &Arc<Ring>) -> Option<Writer> {
        if self.in_use.swap(true, Ordering::AcqRel) {
            return None;
        }
        let head = Cell::new(self.head.load(Ordering::Relaxed));
        let tail = Cell::new(self.tail.load(Ordering::Acquire));
        Some(Writer { ring: self.clone(), head, tail })
    }

    /// Takes out what is there; to be called by one thread at a time.
    pub fn drain(&self, mut each: impl FnMut(Words)) {
        let head = self.head.load(Ordering::Acquire);
        let tail = self.tail.load(Ordering::Relaxed);
        for place in tail..head {
            each(std::array::from_fn(|word| {
                self.slot(place).get(word).map_or(0, |slot| slot.load(Ordering::Relaxed))
            }));
        }
        // Only now may the slots be filled anew.
        self.tail.store(head, Ordering::Release);
    }

    /// How many events found no room.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The words of the event that was put in as number `place`.
    fn slot(&self, place: u64) -> &[AtomicU64] {
        // Below the capacity, which is a u32: it fits.
        let at = usize::try_from(place & (self.capacity - 1)).unwrap_or(0) * WORDS;
        self.slots.get(at..at + WORDS).unwrap_or_default()
    }
}

/// Zeroes that take no memory before they are written to.
fn zeroes(count: usize) -> Box<[AtomicU64]> {
    let mut words = std::mem::ManuallyDrop::new(vec![0_u64; count].into_boxed_slice());
    let start = words.as_mut_ptr().cast::<AtomicU64>();
    // SAFETY: the memory is that of a boxed slice of as many u64, which nobody owns any more, and an
    // AtomicU64 has the size, alignment on this architecture, and values of a u64.
    unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(start, count)) }
}

/// The end of a ring that events are put in at.
pub struct Writer {
    ring: Arc<Ring>,
    head: Cell<u64>,
    /// As last seen: looked at again only where the ring seems full.
    tail: Cell<u64>,
}

impl Writer {
    /// Puts an event in, if there is room.
    pub fn put(&self, words: Words) {
        let (ring, head) = (&*self.ring, self.head.get());
        if head - self.tail.get() == ring.capacity {
            self.tail.set(ring.tail.load(Ordering::Acquire));
            if head - self.tail.get() == ring.capacity {
                ring.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        for (slot, word) in ring.slot(head).iter().zip(words) {
            slot.store(word, Ordering::Relaxed);
        }
        self.head.set(head + 1);
        // The words are there before they can be taken out.
        ring.head.store(head + 1, Ordering::Release);
        if (head + 1) & (ring.capacity / 2 - 1) == 0 {
            // Fails only where the counter is full, and then it was rung.
            let _ = ring.bell.write(1);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.ring.in_use.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn ring(capacity: u32) -> Arc<Ring> {
        Arc::new(Ring::new(capacity, Arc::new(EventFd::new(libc::EFD_NONBLOCK).unwrap())))
    }

    fn drained(ring: &Ring) -> Vec<u64> {
        let mut firsts = Vec::new();
        ring.drain(|words| firsts.push(words[0]));
        firsts
    }

    #[test]
    fn what_finds_no_room_is_counted_and_nothing_is_overwritten() {
        let ring = ring(4);
        let writer = ring.writer().unwrap();
        for value in 0..6 {
            writer.put([value; WORDS]);
        }
        assert_eq!((drained(&ring), ring.dropped()), (vec![0, 1, 2, 3], 2));
        writer.put([6; WORDS]);
        assert_eq!((drained(&ring), ring.dropped()), (vec![6], 2));
        assert!(drained(&ring).is_empty());
    }

    #[test]
    fn the_bell_rings_at_each_half() {
        let ring = ring(8);
        let writer = ring.writer().unwrap();
        for value in 0..3 {
            writer.put([value; WORDS]);
        }
        assert!(ring.bell.read().is_err());
        writer.put([3; WORDS]);
        assert!(ring.bell.read().is_ok());
    }

    #[test]
    fn events_come_from_one_place_at_a_time() {
        let ring = ring(4);
        let writer = ring.writer().unwrap();
        writer.put([1; WORDS]);
        assert!(ring.writer().is_none());
        drop(writer);
        ring.writer().unwrap().put([2; WORDS]);
        assert_eq!(drained(&ring), [1, 2]);
    }

    #[test]
    fn two_threads_lose_nothing_that_is_not_counted() {
        const EVENTS: u64 = 200_000;
        let ring = ring(64);
        let writer = ring.writer().unwrap();
        let maker = thread::spawn(move || (0..EVENTS).for_each(|value| writer.put([value; WORDS])));
        let mut seen = Vec::new();
        while !maker.is_finished() {
            ring.drain(|words| {
                assert!(words.iter().all(|word| *word == words[0]), "torn: {words:?}");
                seen.push(words[0]);
            });
        }
        maker.join().unwrap();
        seen.extend(drained(&ring));
        assert!(seen.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(seen.len() as u64 + ring.dropped(), EVENTS);
    }
}
