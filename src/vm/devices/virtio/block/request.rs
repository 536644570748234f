//! What a driver asks of a disk, as a value: everything is checked before anything is done (virtio
//! 1.2, section 5.2.6). The framing is the driver's choice: header, data and status may lie in any
//! number of buffers.

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_WRITE_ZEROES, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH,
    VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_WRITE_ZEROES,
    VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
};
use vm_memory::GuestMemoryMmap;

use super::backing::{Backing, SECTOR};
use super::config::MAX_ERASED;
use crate::vm::devices::virtio::chain::{self, Buffer, Chain};
use crate::vm::devices::virtio::queue::has;

/// How long a disk's id is.
pub(super) const ID_BYTES: usize = 20;
/// The header: type, a reserved word, sector.
const HEADER: usize = 16;
/// The most buffers of a request: a driver that keeps to seg_max makes as many as a queue has
/// descriptors. So what a request needs in hand is bounded.
const MOST_BUFFERS: usize = super::QUEUE_SIZE as usize;
/// What discard and write-zeroes name their sectors by.
const SEGMENT: usize = 16;

/// How a request went: what is written into its last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Status {
    Ok = 0,
    IoError = 1,
    Unsupported = 2,
}

/// What is to be done. Offsets and lengths are in bytes, within the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Read { offset: u64, length: u64 },
    Write { offset: u64, length: u64 },
    Flush,
    GetId,
    Discard { offset: u64, length: u64 },
    WriteZeroes { offset: u64, length: u64, unmap: bool },
}

impl Request {
    /// How many bytes it moves, as a rate limit counts them.
    pub(super) fn bytes(self) -> u64 {
        match self {
            Request::Read { length, .. } | Request::Write { length, .. } => length,
            _ => 0,
        }
    }
}

/// Where the status goes: the last byte that the device may write. `None` where there is none, and
/// nobody can be told how the request went.
pub(super) fn status_at(chain: &Chain) -> Option<Buffer> {
    let last = chain::total(chain.writable()).checked_sub(1)?;
    chain::slice(chain.writable(), last, 1).next()
}

/// The buffers that a read fills: all writable ones but for the status.
pub(super) fn data_in(chain: &Chain) -> impl Iterator<Item = Buffer> {
    chain::slice(chain.writable(), 0, chain::total(chain.writable()).saturating_sub(1))
}

/// The buffers that a write takes: all readable ones behind the header.
pub(super) fn data_out(chain: &Chain) -> impl Iterator<Item = Buffer> {
    chain::slice(chain.readable(), HEADER as u64, u64::MAX)
}

/// Reads a request; what cannot be done is answered at once.
pub(super) fn parse(
    chain: &Chain,
    memory: &GuestMemoryMmap,
    backing: &Backing,
    features: u64,
) -> Result<Request, Status> {
    if chain.readable().len() + chain.writable().len() > MOST_BUFFERS {
        return Err(Status::IoError);
    }
    let mut header = [0; HEADER];
    chain::read(memory, chain.readable(), 0, &mut header).ok_or(Status::IoError)?;
    let [t0, t1, t2, t3, _, _, _, _, sector @ ..] = header;
    let sector = u64::from_le_bytes(sector);
    let kind = u32::from_le_bytes([t0, t1, t2, t3]);
    let writes =
        matches!(kind, VIRTIO_BLK_T_OUT | VIRTIO_BLK_T_DISCARD | VIRTIO_BLK_T_WRITE_ZEROES);
    if writes && backing.read_only {
        return Err(Status::IoError);
    }
    match kind {
        VIRTIO_BLK_T_IN => {
            let length = chain::total(chain.writable()).saturating_sub(1);
            let offset = within(backing, sector, length)?;
            Ok(Request::Read { offset, length })
        }
        VIRTIO_BLK_T_OUT => {
            let length = chain::total(chain.readable()) - HEADER as u64;
            let offset = within(backing, sector, length)?;
            Ok(Request::Write { offset, length })
        }
        VIRTIO_BLK_T_FLUSH => Ok(Request::Flush),
        VIRTIO_BLK_T_GET_ID => Ok(Request::GetId),
        VIRTIO_BLK_T_DISCARD if has(features, VIRTIO_BLK_F_DISCARD) => {
            let Segment { offset, length, flags } = segment(chain, memory, backing)?;
            if flags != 0 {
                return Err(Status::Unsupported);
            }
            Ok(Request::Discard { offset, length })
        }
        VIRTIO_BLK_T_WRITE_ZEROES if has(features, VIRTIO_BLK_F_WRITE_ZEROES) => {
            let Segment { offset, length, flags } = segment(chain, memory, backing)?;
            if flags & !VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP != 0 {
                return Err(Status::Unsupported);
            }
            Ok(Request::WriteZeroes { offset, length, unmap: flags != 0 })
        }
        _ => Err(Status::Unsupported),
    }
}

struct Segment {
    offset: u64,
    length: u64,
    flags: u32,
}

/// The one segment of a discard or write-zeroes.
fn segment(chain: &Chain, memory: &GuestMemoryMmap, backing: &Backing) -> Result<Segment, Status> {
    let mut bytes = [0; SEGMENT];
    if chain::total(chain.readable()) != (HEADER + SEGMENT) as u64 {
        return Err(Status::IoError);
    }
    chain::read(memory, chain.readable(), HEADER as u64, &mut bytes).ok_or(Status::IoError)?;
    let [s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3, flags @ ..] = bytes;
    let sector = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
    let sectors = u32::from_le_bytes([n0, n1, n2, n3]);
    let flags = u32::from_le_bytes(flags);
    if sectors > MAX_ERASED {
        return Err(Status::IoError);
    }
    let length = u64::from(sectors) * SECTOR;
    Ok(Segment { offset: within(backing, sector, length)?, length, flags })
}

/// Where in the file the sectors lie, if they lie on the disk altogether.
fn within(backing: &Backing, sector: u64, length: u64) -> Result<u64, Status> {
    let offset = sector.checked_mul(SECTOR).ok_or(Status::IoError)?;
    let end = offset.checked_add(length).ok_or(Status::IoError)?;
    let fits = length.is_multiple_of(SECTOR) && end <= backing.bytes();
    if fits { Ok(offset) } else { Err(Status::IoError) }
}
