//! Bytes as what a hostile guest does to the socket device while programs on the host use it: packets,
//! rings, and what those programs do. Shared by the fuzz target and the tests.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use duplex::vm::devices::virtio::vsock::front::port_path;
use duplex::vm::devices::virtio::vsock::packet::{Header, op};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::driver::{ARENA, Driver, MEMORY, NEEDS_RESET, desc};
use crate::guest_sockets::{Guest, QUEUE, RX, TX};

/// The ports of the host at which somebody listens, but for the last.
const PORTS: [u32; 3] = [1, 2, 3];
/// At which the device shows that it still works.
const CHECK: u32 = 77;
const PLACES: [u64; 6] = [0, 0x1_0000, ARENA, ARENA + (1 << 20), MEMORY - 30, u64::MAX - 20];

struct Target {
    guest: Guest,
    listeners: Vec<UnixListener>,
    check: UnixListener,
}

thread_local! {
    /// One device for all runs: a reset must make it new.
    static TARGET: RefCell<Option<Target>> = const { RefCell::new(None) };
}

fn target() -> Target {
    let guest = Guest::without_buffers();
    let listen = |port: &u32| {
        let listener = UnixListener::bind(port_path(&guest.path(), *port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        listener
    };
    let listeners = PORTS.iter().take(2).map(listen).collect();
    let check = UnixListener::bind(port_path(&guest.path(), CHECK)).unwrap();
    check.set_nonblocking(true).unwrap();
    Target { guest, listeners, check }
}

/// Does what the bytes say, resets the device and uses it rightly.
pub(crate) fn drive(bytes: &[u8]) {
    TARGET.with_borrow_mut(|slot| {
        let Target { guest, listeners, check } = slot.get_or_insert_with(target);
        guest.driver.start(u64::MAX, QUEUE);
        let mut programs: Vec<UnixStream> = Vec::new();
        let mut bytes = bytes.iter().copied();
        while step(guest, &mut programs, &mut bytes).is_some() {
            for listener in listeners.iter() {
                programs.extend(listener.accept().map(|(stream, _)| stream));
            }
        }
        settle(&guest.driver);
        drop(programs);
        guest.driver.start(u64::MAX, QUEUE);
        assert_eq!(guest.driver.status() & NEEDS_RESET, 0);
        (guest.room, guest.taken) = (1 << 16, 0);
        guest.post_all();
        // A descriptor may have led to the last run's packet.
        while check.accept().is_ok() {}
        guest.send(op::REQUEST, 9, CHECK);
        assert_eq!(next_of_check(guest).0.op, op::RESPONSE);
        let (mut program, _) = check.accept().unwrap();
        program.write_all(b"works").unwrap();
        assert_eq!(next_of_check(guest).1, b"works");
        for listener in listeners {
            while listener.accept().is_ok() {}
        }
    });
}

/// The next packet of the last connection. Programs whose turn had not come before the reset may still
/// want to be connected.
fn next_of_check(guest: &mut Guest) -> (Header, Vec<u8>) {
    loop {
        let packet = guest.receive();
        if packet.0.src_port == CHECK {
            return packet;
        }
    }
}

fn step(
    guest: &mut Guest,
    programs: &mut Vec<UnixStream>,
    bytes: &mut impl Iterator<Item = u8>,
) -> Option<()> {
    let mut byte = || bytes.next();
    let operation = byte()?;
    let which = usize::from(operation >> 4);
    match operation % 16 {
        // A packet, mostly a plausible one.
        0..=4 => {
            let (operation_of, flags, lie) = (byte()?, byte()?, byte()?);
            let ours = u32::from(flags >> 4 & 3);
            let theirs = match flags >> 6 {
                3 => (1 << 30) + u32::from(lie % 8),
                port => PORTS[usize::from(port)],
            };
            let len = match lie & 7 {
                0..=3 => u32::from(lie),
                4 => 40_000,
                _ => 0,
            };
            let data = vec![operation; usize::try_from(len).unwrap()];
            let len = if lie == 0xFF { u32::MAX } else { len + u32::from(lie >> 6 == 2) };
            let header = guest.header(u16::from(operation_of % 9), ours, theirs);
            let header = Header { flags: u32::from(flags & 3), len, ..header };
            guest.make_packet(header, &data);
        }
        5 => guest.room = u32::from(byte()?) << (byte()? % 25),
        6 => guest.taken = guest.taken.wrapping_add(u32::from(byte()?)).wrapping_sub(128),
        // Buffers for packets: good ones, and any.
        7 | 8 => guest.post_all(),
        9 => {
            let (place, len, flags, queue) = (byte()?, byte()?, byte()?, usize::from(byte()? & 1));
            let gpa = PLACES[usize::from(place) % PLACES.len()].wrapping_add(u64::from(place >> 4));
            let buffer = desc(gpa, u32::from(len) << (flags >> 4), u16::from(flags & 7), 3);
            guest.driver.send([RX, TX][queue], u16::from(len % 16), &[buffer]);
        }
        10 => settle(&guest.driver),
        // Programs on the host come, write, read and go.
        11 => {
            let mut program = UnixStream::connect(guest.path()).ok()?;
            program.set_nonblocking(true).ok()?;
            let commands: [&[u8]; 4] =
                [b"CONNECT 1\n", b"CONNECT 2\nhello", b"CONN", b"nonsense\n"];
            let _ = program.write_all(commands[which % 4]);
            programs.push(program);
        }
        12 | 13 => {
            if let Some(program) = programs.get_mut(which) {
                program.set_nonblocking(true).ok()?;
                let _ = program.write(&vec![operation; usize::from(byte()?) * 64]);
            }
        }
        14 => {
            if let Some(program) = programs.get_mut(which) {
                program.set_nonblocking(true).ok()?;
                let _ = program.read(&mut [0; 8192]);
            }
        }
        _ if which < programs.len() => drop(programs.swap_remove(which)),
        _ => {}
    }
    Some(())
}

/// Waits until the device has heard every bell.
fn settle(driver: &Driver) {
    for kick in driver.transport.kicks() {
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
