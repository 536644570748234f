//! Bytes as what a hostile driver of a network interface does while a host sends whatever it likes.
//! Shared by the fuzz target and the tests.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use duplex::vm::devices::virtio::net::header::{Header, Offloads};
use duplex::vm::devices::virtio::net::link::{Link, Received};
use vm_memory::{Bytes, GuestAddress};

use crate::driver::{ARENA, Driver, NEEDS_RESET, WRITE, desc};
use crate::nic::{HEADER, RX, TX, on_link, settings};
use crate::steps::{QUEUE, settle, step};

/// What all judges and their host know.
#[derive(Default)]
struct Knobs {
    /// The link takes nothing.
    busy: AtomicBool,
    /// How many frames it took.
    taken: AtomicUsize,
}

/// A link like a tap, on datagrams, that checks what the host would be given.
struct Judge {
    socket: UnixDatagram,
    knobs: Arc<Knobs>,
}

impl Link for Judge {
    fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    fn offloads(&self) -> bool {
        true
    }

    fn start(&mut self, _driver: Offloads) -> io::Result<()> {
        Ok(())
    }

    fn send(&mut self, header: &Header, frame: &[libc::iovec]) -> io::Result<bool> {
        let length: usize = frame.iter().map(|iovec| iovec.iov_len).sum();
        check(header.0, length);
        for iovec in frame {
            for at in (0..iovec.iov_len).step_by(4096).chain(iovec.iov_len.checked_sub(1)) {
                // SAFETY: guest memory is mapped as long as the device; a hole would be a finding.
                unsafe { iovec.iov_base.cast::<u8>().add(at).read_volatile() };
            }
        }
        if self.knobs.busy.load(Ordering::SeqCst) {
            return Ok(false);
        }
        self.knobs.taken.fetch_add(1, Ordering::SeqCst);
        Ok(true)
    }

    fn receive(&mut self, header: &mut Header, room: &[libc::iovec]) -> io::Result<Received> {
        let own = libc::iovec { iov_base: header.0.as_mut_ptr().cast(), iov_len: header.0.len() };
        let mut iovecs: Vec<libc::iovec> = [&[own], room].concat();
        // SAFETY: all zeroes is a valid msghdr: no address, no control data.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = iovecs.as_mut_ptr();
        message.msg_iovlen = iovecs.len();
        let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
        // SAFETY: the iovecs are the caller's header and guest memory that is mapped as long as the
        // device and not borrowed.
        let got = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut message, flags) };
        let Ok(got) = usize::try_from(got) else { return Ok(Received::Nothing) };
        let length = got.saturating_sub(header.0.len());
        let fits = length <= room.iter().map(|iovec| iovec.iov_len).sum();
        Ok(if fits { Received::Frame(length) } else { Received::TooLong })
    }

    fn stop(&mut self) {}
}

/// Nothing in the header points behind the frame or asks for what cannot be done.
fn check(header: [u8; 12], length: usize) {
    assert!((14..=65_553).contains(&length), "a frame of {length} bytes");
    let [flags, gso, a, b, c, d, e, f, g, h, zero, zero_too] = header;
    let number = |low, high| usize::from(u16::from_le_bytes([low, high]));
    assert!(flags <= 1 && zero == 0 && zero_too == 0, "{header:?}");
    if flags == 1 {
        assert!(number(e, f) + number(g, h) + 2 <= length, "{header:?} of {length}");
    }
    if gso != 0 {
        assert!(matches!(gso & 0x7F, 1 | 4) && flags == 1, "{header:?}");
        assert!(number(c, d) > 0 && number(a, b) <= length, "{header:?} of {length}");
    }
}

struct Target {
    driver: Driver,
    /// The interface's end, and the host's.
    socket: UnixDatagram,
    host: UnixDatagram,
    knobs: Arc<Knobs>,
}

impl Target {
    fn new() -> Target {
        let (socket, host) = UnixDatagram::pair().unwrap();
        host.set_nonblocking(true).unwrap();
        let knobs = Arc::<Knobs>::default();
        socket.set_nonblocking(true).unwrap();
        let judge = Judge { socket: socket.try_clone().unwrap(), knobs: knobs.clone() };
        Target { driver: Driver::new(on_link(judge, settings()).0), socket, host, knobs }
    }

    /// The host does something: a packet comes, or the link takes nothing for a while.
    fn host(&mut self, bytes: &mut impl Iterator<Item = u8>) -> Option<()> {
        let what = bytes.next()?;
        self.knobs.busy.store(what & 1 != 0, Ordering::SeqCst);
        let length = usize::from(u16::from_le_bytes([bytes.next()?, bytes.next()?]));
        let mut packet: Vec<u8> = (0..12).map(|_| bytes.next()).collect::<Option<_>>()?;
        packet.resize(packet.len() + length, what);
        // A full socket takes no more, as a tap's queue.
        let _ = self.host.send(&packet);
        settle(&self.driver);
        Some(())
    }

    /// A driver and a host that do everything right have a working interface.
    fn use_rightly(&mut self) {
        let driver = &mut self.driver;
        self.knobs.busy.store(false, Ordering::SeqCst);
        driver.set_status(0);
        // What the host had sent before was for somebody else.
        while self.socket.recv(&mut []).is_ok() {}
        driver.start(u64::MAX, QUEUE);
        assert_eq!(driver.status() & NEEDS_RESET, 0);
        let before = self.knobs.taken.load(Ordering::SeqCst);
        driver.memory.write_slice(&[0; 72], GuestAddress(ARENA)).unwrap();
        driver.send(TX, 0, &[desc(ARENA, 72, 0, 0)]);
        assert_eq!(driver.wait_used(TX), (0, 0));
        assert_eq!(self.knobs.taken.load(Ordering::SeqCst), before + 1);
        self.host.send(&[&[0; 12][..], &[0xA5; 61]].concat()).unwrap();
        driver.send(RX, 0, &[desc(ARENA, 0x1_8000, WRITE, 0)]);
        assert_eq!(driver.wait_used(RX), (0, HEADER + 61));
        assert_eq!(driver.get::<u8>(ARENA + 72), 0xA5);
    }
}

thread_local! {
    /// One interface for all runs: a reset must make it new.
    static TARGET: RefCell<Option<Target>> = const { RefCell::new(None) };
}

/// Does what the bytes say, resets the interface and uses it rightly.
pub(crate) fn drive(bytes: &[u8]) {
    TARGET.with_borrow_mut(|target| {
        let target = target.get_or_insert_with(Target::new);
        let Some((first, bytes)) = bytes.split_first() else { return };
        // Without mergeable buffers, indirect tables, the event index, offloads.
        let without = u64::from(first & 1) << 15
            | u64::from(first >> 1 & 3) << 28
            | u64::from(first >> 3) << 7
            | u64::from(first >> 7) * 3;
        target.driver.start(!without, QUEUE);
        let mut bytes = bytes.iter().copied();
        while let Some(who) = bytes.next() {
            let done = match who % 4 {
                0 => target.host(&mut bytes),
                _ => step(&mut target.driver, &mut bytes),
            };
            if done.is_none() {
                break;
            }
        }
        settle(&target.driver);
        target.use_rightly();
    });
}
