//! Guests that do anything at all to the small devices, the console and the balloon: afterwards a
//! reset makes each as new.

use std::cell::RefCell;
use std::io::Read;
use std::os::fd::AsFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use proptest::prelude::*;

use crate::balloon;
use crate::console;
use crate::driver::{ARENA, Desc, Driver, MEMORY, NEEDS_RESET};

/// Where buffers lie: good places, the rings themselves, and none.
const PLACES: [u64; 6] = [ARENA, 0x1_0000, 0x3_8000, MEMORY - 64, MEMORY, u64::MAX - 100];
const LENGTHS: [u32; 8] = [0, 1, 10, 64, 4096, 70_000, 2 << 20, u32::MAX];

thread_local! {
    static CONSOLE: RefCell<Option<console::Guest>> = const { RefCell::new(None) };
}

/// What a guest does, four bytes at a time.
fn misbehave(driver: &mut Driver, queues: usize, bytes: &[u8]) {
    for step in bytes.chunks_exact(4) {
        let &[what, place, len, flags] = step else { continue };
        let queue = usize::from(what) % queues;
        let head = u16::from(what >> 4);
        let descriptor = |place: u8, len: u8| Desc {
            gpa: PLACES[usize::from(place) % PLACES.len()].wrapping_add(u64::from(place & 0xF0)),
            len: LENGTHS[usize::from(len) % LENGTHS.len()],
            flags: u16::from(flags & 3),
            next: u16::from(flags >> 4),
        };
        match what & 0xC {
            0 | 4 => driver.send(queue, head, &[descriptor(place, len)]),
            8 => driver.send(queue, head, &[descriptor(place, len), descriptor(len, place)]),
            _ if flags < 16 => {
                // An available index that jumps.
                driver.rings[queue].next_available = u16::from(place);
                driver.make_available(queue, u16::from(len));
                driver.kick(queue);
            }
            _ => {
                let at = 0x100 + u64::from(place % 32);
                duplex::vm::devices::MmioDevice::write(&*driver.transport, at, &[len; 4]);
            }
        }
    }
}

fn drain(guest: &mut console::Guest) {
    let mut bytes = [0; 65536];
    while guest.screen.read(&mut bytes).is_ok_and(|len| len > 0) {}
}

proptest! {
    #[test]
    fn a_hostile_guest_hurts_only_its_own_console(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        CONSOLE.with_borrow_mut(|slot| {
            let guest = slot.get_or_insert_with(|| {
                let guest = console::Guest::new(Some((80, 24)));
                fcntl(guest.screen.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
                guest
            });
            guest.driver.start(u64::MAX, 16);
            guest.port.give(&bytes);
            misbehave(&mut guest.driver, 2, &bytes);
            drain(guest);
            guest.driver.start(u64::MAX, 16);
            assert_eq!(guest.driver.status() & NEEDS_RESET, 0);
            // What the host has still to read may be in the way.
            guest.driver.send(1, 0, &[Desc { gpa: ARENA, len: 9, flags: 0, next: 0 }]);
            while guest.driver.take_used(1).is_none() {
                drain(guest);
                std::thread::yield_now();
            }
        });
    }

    #[test]
    fn a_hostile_guest_hurts_only_its_own_balloon(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (mut driver, control) = balloon::balloon(3);
        misbehave(&mut driver, 4, &bytes);
        control.request_statistics();
        driver.start(u64::MAX, 16);
        assert_eq!(driver.status() & NEEDS_RESET, 0);
        balloon::send(&mut driver, 0, &[1]);
        assert_eq!(control.target(), 3);
    }
}
