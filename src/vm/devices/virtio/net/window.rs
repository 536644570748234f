//! Buffers that the driver has lent for what will be received: chains taken from the queue, kept
//! until a frame needs them. Each is read once, however many frames it waits for.

use std::collections::VecDeque;

use vm_memory::GuestMemoryMmap;

use super::header::{Header, SIZE};
use crate::vm::devices::virtio::chain::{self, Buffer, Chain};
use crate::vm::devices::virtio::iovecs::{IoVecs, MOST};
use crate::vm::devices::virtio::queue::{QueueError, Virtqueue};

/// The most pieces of memory for one frame: room for a link's own in a system call.
const PIECES: usize = MOST - 2;

/// A chain that is held.
struct Held {
    head: u16,
    bytes: u64,
    pieces: usize,
    /// Over how many buffers the header is spread: one, unless the driver makes fun of us.
    header_pieces: usize,
}

/// The chains that are held, in order. Bounded by the queue's size, and by the pieces that one frame
/// can use and one chain can have.
#[derive(Default)]
pub(super) struct Window {
    held: VecDeque<Held>,
    headers: VecDeque<Buffer>,
    pieces: IoVecs,
    bytes: u64,
    chain: Chain,
}

impl Window {
    /// Takes chains until there is room for `needed` bytes, or as much as there can be. `false`: the
    /// driver has not lent enough. Chains that are of no use are given back, and counted by `bad`.
    pub(super) fn fill(
        &mut self,
        queue: &mut Virtqueue,
        needed: u64,
        bad: impl Fn(),
    ) -> Result<bool, QueueError> {
        let size = usize::from(queue.size());
        // Bad ones end too: a driver that lends nothing else is not to keep others waiting.
        for _ in 0..=size {
            let full = self.held.len() >= size || self.pieces.all().len() >= PIECES;
            if self.bytes >= needed || full {
                return Ok(true);
            }
            if !queue.pop(&mut self.chain)? {
                return Ok(false);
            }
            if !self.hold(queue.memory()) {
                bad();
                queue.push(self.chain.head(), 0)?;
            }
        }
        queue.kick_self();
        Ok(false)
    }

    /// Holds the chain that was just taken, if it is memory with room for a header.
    fn hold(&mut self, memory: &GuestMemoryMmap) -> bool {
        let bytes = chain::total(self.chain.writable());
        if bytes < SIZE as u64 {
            return false;
        }
        let before = self.pieces.all().len();
        if !self.chain.writable().iter().all(|buffer| self.pieces.add(memory, *buffer)) {
            self.pieces.truncate(before);
            return false;
        }
        let headers = self.headers.len();
        self.headers.extend(chain::slice(self.chain.writable(), 0, SIZE as u64));
        self.held.push_back(Held {
            head: self.chain.head(),
            bytes,
            pieces: self.pieces.all().len() - before,
            header_pieces: self.headers.len() - headers,
        });
        self.bytes += bytes;
        true
    }

    /// The room for a frame, behind its header: in the first chain, or in all.
    pub(super) fn room(&self, room: &mut IoVecs, all: bool) {
        room.clear();
        let pieces = match self.held.front() {
            Some(first) if !all => first.pieces,
            _ => usize::MAX,
        };
        room.extend(self.pieces.all().iter().take(pieces.min(PIECES)), SIZE, usize::MAX);
    }

    /// Gives back the chains that a frame of `length` bytes lies in, after its header was written.
    pub(super) fn give(
        &mut self,
        queue: &mut Virtqueue,
        mut header: Header,
        length: usize,
    ) -> Result<(), QueueError> {
        let total = (SIZE + length) as u64;
        let mut count = 0;
        let mut have = 0;
        while let Some(held) = self.held.get(usize::from(count)).filter(|_| have < total) {
            have += held.bytes;
            count += 1;
        }
        header.set_buffers(count);
        let mut rest: &[u8] = &header.0;
        for piece in &self.headers {
            let (part, after) =
                rest.split_at(rest.len().min(usize::try_from(piece.len).unwrap_or(0)));
            // It was memory when it was taken, and memory stays.
            let _ = chain::write(queue.memory(), &[*piece], 0, part);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        let mut left = total;
        let mut pieces = 0;
        for _ in 0..count {
            let Some(held) = self.held.pop_front() else { break };
            let written = left.min(held.bytes);
            left -= written;
            self.bytes -= held.bytes;
            pieces += held.pieces;
            self.headers.drain(..held.header_pieces.min(self.headers.len()));
            queue.push(held.head, u32::try_from(written).unwrap_or(u32::MAX))?;
        }
        self.pieces.remove_first(pieces);
        Ok(())
    }
}
