//! A descriptor chain as a value: parsed and checked as a whole before anybody acts on it.

use vm_memory::{Address, Bytes, GuestAddress, GuestMemoryMmap};

use virtio_queue::desc::split::Descriptor;

use super::queue_error::QueueError;

/// The longest chain through an indirect table: more than Linux ever makes, and IOV_MAX, so that any
/// chain fits one readv(2). Without a table the queue's size is the limit.
pub const MAX_INDIRECT: u32 = 1024;
/// The most bytes of one chain (virtio 1.2, section 2.7.5.2).
const MAX_BYTES: u64 = 1 << 32;
/// The size of a descriptor.
const DESCRIPTOR: u32 = 16;

/// A piece of guest memory that a descriptor names. Whether there is memory is for whoever uses it
/// to check: a request that names none fails, and nothing else does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Its guest-physical address.
    pub gpa: u64,
    /// How many bytes it has.
    pub len: u32,
}

/// A chain of buffers: those that the device reads, then those that it writes. Reused from request
/// to request, so that none allocates.
#[derive(Debug, Default)]
pub struct Chain {
    head: u16,
    buffers: Vec<Buffer>,
    readable: usize,
}

/// A table of descriptors: the queue's own or an indirect one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    pub(super) start: GuestAddress,
    pub(super) entries: u32,
}

impl Table {
    fn read(self, memory: &GuestMemoryMmap, index: u32) -> Result<Descriptor, QueueError> {
        if index >= self.entries {
            return Err(QueueError::NoSuchDescriptor(index, self.entries));
        }
        let at = self.start.checked_add(u64::from(index) * u64::from(DESCRIPTOR));
        at.and_then(|at| memory.read_obj(at).ok())
            .ok_or(QueueError::Outside("a descriptor table", self.start.raw_value()))
    }
}

impl Chain {
    /// The index of its first descriptor, by which the driver knows it.
    pub fn head(&self) -> u16 {
        self.head
    }

    /// The buffers that the device may read.
    pub fn readable(&self) -> &[Buffer] {
        self.buffers.get(..self.readable).unwrap_or_default()
    }

    /// The buffers that the device may write.
    pub fn writable(&self) -> &[Buffer] {
        self.buffers.get(self.readable..).unwrap_or_default()
    }

    /// Reads the chain that starts at `head` of `table`: each descriptor once, so that what was
    /// checked is what is used.
    pub(super) fn read(
        &mut self,
        memory: &GuestMemoryMmap,
        mut table: Table,
        head: u16,
        indirect_allowed: bool,
    ) -> Result<(), QueueError> {
        self.head = head;
        self.buffers.clear();
        self.readable = 0;
        let mut index = u32::from(head);
        let mut indirect = false;
        let mut hops = 0;
        let mut bytes = 0;
        loop {
            if hops == table.entries {
                return Err(QueueError::Loop(head));
            }
            hops += 1;
            let descriptor = table.read(memory, index)?;
            if descriptor.refers_to_indirect_table() {
                if indirect {
                    return Err(QueueError::NestedIndirect(head));
                }
                if !indirect_allowed {
                    return Err(QueueError::IndirectNotNegotiated(head));
                }
                table = indirect_table(head, descriptor)?;
                (indirect, index, hops) = (true, 0, 0);
                continue;
            }
            bytes += u64::from(descriptor.len());
            if bytes > MAX_BYTES {
                return Err(QueueError::TooManyBytes(head));
            }
            self.add(descriptor)?;
            if !descriptor.has_next() {
                return Ok(());
            }
            index = descriptor.next().into();
        }
    }

    fn add(&mut self, descriptor: Descriptor) -> Result<(), QueueError> {
        let any_writable = self.buffers.len() > self.readable;
        if !descriptor.is_write_only() && any_writable {
            return Err(QueueError::Order(self.head));
        }
        // An empty buffer says nothing.
        if descriptor.len() > 0 {
            let gpa = descriptor.addr().raw_value();
            self.buffers.push(Buffer { gpa, len: descriptor.len() });
            self.readable += usize::from(!descriptor.is_write_only());
        }
        Ok(())
    }
}

/// The table that a descriptor refers to. Its own write flag means nothing (section 2.7.5.3.2).
fn indirect_table(head: u16, descriptor: Descriptor) -> Result<Table, QueueError> {
    let size = descriptor.len();
    let entries = size / DESCRIPTOR;
    if descriptor.has_next() {
        return Err(QueueError::IndirectWithNext(head));
    }
    if entries == 0 || entries > MAX_INDIRECT || !size.is_multiple_of(DESCRIPTOR) {
        return Err(QueueError::IndirectSize(head, size));
    }
    Ok(Table { start: descriptor.addr(), entries })
}

/// How many bytes the buffers have together.
pub fn total(buffers: &[Buffer]) -> u64 {
    buffers.iter().map(|buffer| u64::from(buffer.len)).sum()
}

/// The pieces of `buffers` that hold the `len` bytes from byte `skip` on, whatever the framing.
pub fn slice(buffers: &[Buffer], skip: u64, len: u64) -> impl Iterator<Item = Buffer> {
    let end = skip.saturating_add(len);
    let mut at = 0_u64;
    buffers.iter().filter_map(move |buffer| {
        let start = at;
        at += u64::from(buffer.len);
        let from = skip.max(start);
        let to = end.min(at);
        let len = u32::try_from(to.checked_sub(from)?).ok().filter(|len| *len > 0)?;
        Some(Buffer { gpa: buffer.gpa.wrapping_add(from - start), len })
    })
}

/// Fills `bytes` from byte `skip` of the buffers on. `None` where they are too short or not memory.
pub fn read(memory: &GuestMemoryMmap, from: &[Buffer], skip: u64, bytes: &mut [u8]) -> Option<()> {
    let mut rest = bytes;
    for piece in slice(from, skip, rest.len() as u64) {
        let (part, after) = rest.split_at_mut_checked(usize::try_from(piece.len).ok()?)?;
        memory.read_slice(part, GuestAddress(piece.gpa)).ok()?;
        rest = after;
    }
    rest.is_empty().then_some(())
}

/// Writes `bytes` into the buffers from byte `skip` on. `None` where they are too short or not
/// memory; some may have been written then.
pub fn write(memory: &GuestMemoryMmap, to: &[Buffer], skip: u64, bytes: &[u8]) -> Option<()> {
    let mut rest = bytes;
    for piece in slice(to, skip, rest.len() as u64) {
        let (part, after) = rest.split_at_checked(usize::try_from(piece.len).ok()?)?;
        memory.write_slice(part, GuestAddress(piece.gpa)).ok()?;
        rest = after;
    }
    rest.is_empty().then_some(())
}

/// Writes one byte. `None` where there is no memory.
pub fn write_byte(memory: &GuestMemoryMmap, gpa: u64, byte: u8) -> Option<()> {
    memory.write_obj(byte, GuestAddress(gpa)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NEXT: u16 = 1;
    const WRITE: u16 = 2;
    const INDIRECT: u16 = 4;
    const TABLE: u64 = 0x1000;
    const OTHER: u64 = 0x2000;

    fn memory() -> GuestMemoryMmap {
        GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x10000)]).unwrap()
    }

    fn put(memory: &GuestMemoryMmap, table: u64, descriptors: &[(u64, u32, u16, u16)]) {
        for (index, (gpa, len, flags, next)) in (0_u64..).zip(descriptors) {
            let descriptor = Descriptor::new(*gpa, *len, *flags, *next);
            memory.write_obj(descriptor, GuestAddress(table + index * 16)).unwrap();
        }
    }

    fn parse(
        direct: &[(u64, u32, u16, u16)],
        indirect: &[(u64, u32, u16, u16)],
    ) -> Result<Chain, QueueError> {
        let memory = memory();
        put(&memory, TABLE, direct);
        put(&memory, OTHER, indirect);
        let mut chain = Chain::default();
        let table = Table { start: GuestAddress(TABLE), entries: 8 };
        chain.read(&memory, table, 0, true).map(|()| chain)
    }

    #[test]
    fn readable_buffers_come_before_writable_ones() {
        let chain = parse(
            &[(1, 16, NEXT, 2), (9, 9, 0, 0), (2, 7, NEXT | WRITE, 3), (3, 1, WRITE, 0)],
            &[],
        )
        .unwrap();
        assert_eq!(chain.readable(), [Buffer { gpa: 1, len: 16 }]);
        assert_eq!(chain.writable(), [Buffer { gpa: 2, len: 7 }, Buffer { gpa: 3, len: 1 }]);
        let wrong = parse(&[(1, 16, NEXT | WRITE, 1), (2, 7, 0, 0)], &[]);
        assert!(matches!(wrong, Err(QueueError::Order(0))));
    }

    #[test]
    fn loops_and_links_to_nowhere_are_found() {
        let loops = parse(&[(0, 1, NEXT, 1), (0, 1, NEXT, 0)], &[]);
        assert!(matches!(loops, Err(QueueError::Loop(0))));
        let nowhere = parse(&[(0, 1, NEXT, 8)], &[]);
        assert!(matches!(nowhere, Err(QueueError::NoSuchDescriptor(8, 8))));
    }

    #[test]
    fn an_indirect_table_ends_a_chain_and_its_own_flags_do_not_count() {
        let chain = parse(
            &[(1, 4, NEXT, 1), (OTHER, 32, INDIRECT | WRITE, 0)],
            &[(2, 4, NEXT, 1), (3, 4, WRITE, 0)],
        )
        .unwrap();
        assert_eq!((chain.readable().len(), chain.writable().len()), (2, 1));
    }

    #[test]
    fn bad_indirect_tables_are_named() {
        let nested = parse(&[(OTHER, 16, INDIRECT, 0)], &[(OTHER, 16, INDIRECT, 0)]);
        assert!(matches!(nested, Err(QueueError::NestedIndirect(0))));
        let continued = parse(&[(OTHER, 16, INDIRECT | NEXT, 1)], &[(0, 1, 0, 0)]);
        assert!(matches!(continued, Err(QueueError::IndirectWithNext(0))));
        for size in [0, 15, 17, 16 * (MAX_INDIRECT + 1), u32::MAX] {
            let sized = parse(&[(OTHER, size, INDIRECT, 0)], &[(0, 1, 0, 0)]);
            assert!(matches!(sized, Err(QueueError::IndirectSize(0, s)) if s == size), "{size}");
        }
        for gpa in [0x10000, u64::MAX - 15, u64::MAX] {
            let outside = parse(&[(gpa, 32, INDIRECT, 0)], &[]);
            assert!(matches!(outside, Err(QueueError::Outside(_, g)) if g == gpa), "{gpa:#x}");
        }
        let loops = parse(&[(OTHER, 32, INDIRECT, 0)], &[(0, 1, NEXT, 1), (0, 1, NEXT, 0)]);
        assert!(matches!(loops, Err(QueueError::Loop(0))));
    }

    #[test]
    fn a_chain_has_at_most_4_gib() {
        let most = u32::MAX;
        assert!(parse(&[(0, most, NEXT, 1), (0, 1, 0, 0)], &[]).is_ok());
        let more = parse(&[(0, most, NEXT, 1), (0, 2, 0, 0)], &[]);
        assert!(matches!(more, Err(QueueError::TooManyBytes(0))));
    }

    proptest! {
        #[test]
        fn a_slice_is_what_flat_bytes_would_give(
            lens in proptest::collection::vec(0_u32..9, 0..6), skip in 0_u64..40, len in 0_u64..40,
        ) {
            let buffers: Vec<Buffer> =
                (0..).zip(&lens).map(|(i, len)| Buffer { gpa: i * 100, len: *len }).collect();
            let flat = |buffers: Vec<Buffer>| -> Vec<u64> {
                buffers.iter().flat_map(|b| b.gpa..b.gpa + u64::from(b.len)).collect()
            };
            let sliced = flat(slice(&buffers, skip, len).collect());
            let expected: Vec<u64> = flat(buffers)
                .into_iter()
                .skip(usize::try_from(skip).unwrap())
                .take(usize::try_from(len).unwrap())
                .collect();
            prop_assert_eq!(sliced, expected);
        }

        #[test]
        fn no_table_makes_the_parser_panic_or_run_long(bytes in proptest::collection::vec(any::<u8>(), 512)) {
            let memory = memory();
            memory.write_slice(&bytes, GuestAddress(TABLE)).unwrap();
            let mut chain = Chain::default();
            let table = Table { start: GuestAddress(TABLE), entries: 32 };
            let _ = chain.read(&memory, table, 0, true);
            prop_assert!(chain.buffers.len() <= 1024 + 32);
        }
    }
}
