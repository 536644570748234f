//! Requests in hand: what the host was asked for, how far it is, and what comes next.

use super::engine::Operation;
use super::request::{Request, Status};
use crate::vm::devices::virtio::iovecs::IoVecs;

const PUNCH: i32 = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
const ZERO: i32 = libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE;

/// What the host does for a request now. Offsets and lengths are what is left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Read {
        offset: u64,
        left: u64,
    },
    Write {
        offset: u64,
        left: u64,
        durable: bool,
    },
    /// Makes a hole, which reads as zeroes.
    Punch {
        offset: u64,
        length: u64,
        durable: bool,
    },
    /// Zeroes that keep their space; where the file system cannot, a hole.
    Zero {
        offset: u64,
        length: u64,
        durable: bool,
    },
    Flush,
}

impl Step {
    /// The first step of a request. With `durable` it is done when it is on stable storage.
    pub(super) fn of(request: Request, durable: bool) -> Step {
        match request {
            Request::Read { offset, length } => Step::Read { offset, left: length },
            Request::Write { offset, length } => Step::Write { offset, left: length, durable },
            Request::Discard { offset, length }
            | Request::WriteZeroes { offset, length, unmap: true } => {
                Step::Punch { offset, length, durable }
            }
            Request::WriteZeroes { offset, length, unmap: false } => {
                Step::Zero { offset, length, durable }
            }
            // The id is known without the host.
            Request::Flush | Request::GetId => Step::Flush,
        }
    }

    /// Whether nothing is left to do from the start: a request for no bytes.
    pub(super) fn is_over(self) -> bool {
        match self {
            Step::Read { left, .. } | Step::Write { left, .. } => left == 0,
            Step::Punch { length, .. } | Step::Zero { length, .. } => length == 0,
            Step::Flush => false,
        }
    }
}

/// One request in hand.
pub(super) struct Slot {
    pub(super) head: u16,
    pub(super) status_at: u64,
    /// How many bytes were written into the driver's buffers.
    pub(super) written: u32,
    pub(super) step: Step,
    pub(super) iovecs: IoVecs,
}

impl Slot {
    pub(super) fn operation(&self) -> Operation<'_> {
        match self.step {
            Step::Read { offset, .. } => Operation::Read { iovecs: self.iovecs.rest(), offset },
            Step::Write { offset, durable, .. } => {
                Operation::Write { iovecs: self.iovecs.rest(), offset, durable }
            }
            Step::Punch { offset, length, .. } => {
                Operation::Allocate { mode: PUNCH, offset, length }
            }
            Step::Zero { offset, length, .. } => Operation::Allocate { mode: ZERO, offset, length },
            Step::Flush => Operation::Flush,
        }
    }

    /// Takes the result of the step. `None`: there is another one, which may be the same again.
    pub(super) fn advance(&mut self, result: i64) -> Option<Status> {
        let Ok(moved) = u64::try_from(result) else { return self.failed(-result) };
        match &mut self.step {
            Step::Read { offset, left } | Step::Write { offset, left, .. } => {
                // Nothing more comes: the file ends here, since it was cut off.
                if moved == 0 || moved > *left {
                    return Some(Status::IoError);
                }
                self.iovecs.advance(moved);
                *offset += moved;
                *left -= moved;
                let over = *left == 0;
                if let Step::Read { .. } = self.step {
                    self.count(moved);
                }
                over.then_some(Status::Ok)
            }
            Step::Punch { durable: true, .. } | Step::Zero { durable: true, .. } => {
                self.step = Step::Flush;
                None
            }
            Step::Punch { .. } | Step::Zero { .. } | Step::Flush => Some(Status::Ok),
        }
    }

    fn count(&mut self, moved: u64) {
        self.written = self.written.saturating_add(u32::try_from(moved).unwrap_or(u32::MAX));
    }

    fn failed(&mut self, errno: i64) -> Option<Status> {
        match (i32::try_from(errno), self.step) {
            (Ok(libc::EINTR | libc::EAGAIN), _) => None,
            (Ok(libc::EOPNOTSUPP), Step::Zero { offset, length, durable }) => {
                self.step = Step::Punch { offset, length, durable };
                None
            }
            (Ok(libc::EOPNOTSUPP), Step::Punch { .. }) => Some(Status::Unsupported),
            (errno, step) => {
                log::debug!("virtio-blk: {step:?} failed: errno {errno:?}");
                Some(Status::IoError)
            }
        }
    }
}

/// The slots of one queue. They never move: the host has pointers into them.
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Slots {
    pub(super) fn new(count: u16) -> Slots {
        let slot = |_| Slot {
            head: 0,
            status_at: 0,
            written: 0,
            step: Step::Flush,
            iovecs: IoVecs::default(),
        };
        Slots { slots: (0..count).map(slot).collect(), free: (0..count.into()).rev().collect() }
    }

    pub(super) fn any_free(&self) -> bool {
        !self.free.is_empty()
    }

    pub(super) fn take(&mut self) -> Option<(u32, &mut Slot)> {
        let number = self.free.pop()?;
        Some((number, self.slots.get_mut(usize::try_from(number).ok()?)?))
    }

    pub(super) fn get(&mut self, number: u32) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(number).ok()?)
    }

    pub(super) fn give_back(&mut self, number: u32) {
        self.free.push(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(step: Step) -> Slot {
        Slot { head: 0, status_at: 0, written: 0, step, iovecs: IoVecs::default() }
    }

    #[test]
    fn a_part_is_followed_by_the_rest_and_nothing_is_an_error() {
        let mut slot = slot(Step::Read { offset: 100, left: 1000 });
        assert_eq!(slot.advance(400), None);
        assert_eq!(slot.step, Step::Read { offset: 500, left: 600 });
        assert_eq!(slot.advance(-i64::from(libc::EINTR)), None);
        assert_eq!(slot.advance(0), Some(Status::IoError));
        assert_eq!(slot.advance(600), Some(Status::Ok));
        assert_eq!(slot.written, 1000);
    }

    #[test]
    fn zeroes_become_a_hole_where_the_file_system_has_nothing_else() {
        let mut slot = slot(Step::Zero { offset: 0, length: 512, durable: true });
        assert_eq!(slot.advance(-i64::from(libc::EOPNOTSUPP)), None);
        assert_eq!(slot.step, Step::Punch { offset: 0, length: 512, durable: true });
        assert_eq!(slot.advance(0), None);
        assert_eq!((slot.step, slot.advance(0)), (Step::Flush, Some(Status::Ok)));
    }

    #[test]
    fn an_error_is_an_error() {
        for errno in [libc::EIO, libc::ENOSPC, libc::EFBIG, libc::EFAULT] {
            let mut slot = slot(Step::Write { offset: 0, left: 512, durable: false });
            assert_eq!(slot.advance(-i64::from(errno)), Some(Status::IoError));
        }
    }
}
