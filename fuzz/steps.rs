//! What a hostile driver does to any device, as bytes say it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::driver::{ARENA, Driver, MEMORY, desc};

/// How many descriptors a queue has.
pub(crate) const QUEUE: u16 = 8;
/// Addresses that tell: rings, buffers, ends of memory and of the world.
const PLACES: [u64; 10] = [
    0,
    0x1_0000,
    0x1_8000,
    0x2_0000,
    ARENA,
    ARENA + 0x100,
    MEMORY - 256,
    MEMORY,
    0xD000_0000,
    u64::MAX - 255,
];

/// Does the next thing; `None` where there are no more bytes.
pub(crate) fn step(driver: &mut Driver, bytes: &mut impl Iterator<Item = u8>) -> Option<()> {
    let mut byte = || bytes.next();
    let operation = byte()?;
    let queue = usize::from(operation >> 7);
    let ring = driver.rings[queue];
    match operation % 8 {
        // A descriptor in the queue's table, or in a table among the buffers.
        0 | 1 => {
            let table = if operation % 8 == 0 { ring.descriptors } else { ARENA + 0x1000 };
            let (index, place, len) = (byte()?, byte()?, byte()?);
            let (flags, next) = (byte()?, byte()?);
            let gpa = PLACES[usize::from(place) % PLACES.len()].wrapping_add(u64::from(place / 10));
            let gpa = if flags & 4 != 0 && place & 1 == 0 { ARENA + 0x1000 } else { gpa };
            let len = match len {
                0..64 => u32::from(len),
                64..128 => u32::from(len - 63) * 512,
                _ => u32::MAX >> (len % 32),
            };
            driver.put_descriptors(
                table,
                u16::from(index % 16),
                &[desc(gpa, len, u16::from(flags & 7), u16::from(next % 20))],
            );
        }
        // A request's header, a disk's or a packet's.
        2 => {
            driver.put(ARENA, u32::from(byte()? % 16));
            driver.put(ARENA + 8, u64::from(byte()?));
        }
        3 => driver.make_available(queue, u16::from(byte()? % 10)),
        4 => {
            driver.kick(queue);
            settle(driver);
        }
        // Registers, but for those that would start it anew.
        5 => {
            let offset = u32::from(byte()?) & !3;
            let value = u32::from_le_bytes([byte()?, byte()?, 0, 0]);
            driver.write(offset, value);
        }
        6 => {
            let value = u16::from_le_bytes([byte()?, byte()?]);
            driver.put(ring.available + u64::from(operation >> 3 & 1) * 2, value);
        }
        // Bytes anywhere in the rings or the first buffers.
        _ => {
            let at = u64::from(u16::from_le_bytes([byte()?, byte()?]));
            let base = if operation & 8 == 0 { 0x1_0000 } else { ARENA };
            driver.put(base + at, u64::from(byte()?) << (byte()? % 64));
        }
    }
    Some(())
}

/// Waits until the device has heard every bell; a reset then waits until it has done what it heard.
pub(crate) fn settle(driver: &Driver) {
    for kick in driver.transport.kicks() {
        // A queue that is not ready has no ears.
        for _ in 0..1000 {
            // SAFETY: the eventfd belongs to the transport.
            let fd = unsafe { BorrowedFd::borrow_raw(kick.as_raw_fd()) };
            let mut rung = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
            if poll(&mut rung, PollTimeout::ZERO) == Ok(0) {
                break;
            }
            std::thread::yield_now();
        }
    }
}
