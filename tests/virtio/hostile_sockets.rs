//! The socket device and guests that lie, flood or do not listen.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use duplex::vm::devices::virtio::vsock::credit::BUF_ALLOC;
use duplex::vm::devices::virtio::vsock::front::port_path;
use duplex::vm::devices::virtio::vsock::packet::{HEADER, HOST_CID, Header, op};
use duplex::vm::devices::virtio::vsock::switch::MAX_CONNECTIONS;
use vm_memory::{Bytes, GuestAddress};

use crate::driver::{ARENA, MEMORY, NEEDS_RESET, WRITE, desc};
use crate::guest_sockets::{Guest, QUEUE, RX, TX};

const SOON: Duration = Duration::from_millis(100);

fn connected() -> (Guest, UnixStream) {
    let mut guest = Guest::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    guest.front.offer(80, theirs).unwrap();
    guest.connect(1, 80);
    (guest, ours)
}

#[test]
fn what_belongs_to_no_connection_is_refused() {
    let mut guest = Guest::new();
    for what in [op::RESPONSE, op::SHUTDOWN, op::RW, op::CREDIT_UPDATE, op::CREDIT_REQUEST, 0, 99] {
        guest.send(what, 1, 80);
        let (answer, _) = guest.receive();
        assert_eq!((answer.op, answer.src_port, answer.dst_port), (op::RST, 80, 1), "{what}");
    }
    // Nobody listens there.
    guest.send(op::REQUEST, 1, 80);
    assert_eq!(guest.receive().0.op, op::RST);
    // Another type of socket is refused by its own name.
    let header = Header { socket_type: 2, ..guest.header(op::REQUEST, 1, 80) };
    guest.send_raw(header, &[]);
    assert_eq!((guest.receive().0.op, header.socket_type), (op::RST, 2));
}

#[test]
fn what_nobody_can_answer_gets_no_answer() {
    let mut guest = Guest::new();
    guest.send(op::RST, 1, 80);
    let header = guest.header(op::REQUEST, 1, 80);
    for (src_cid, dst_cid) in [(1, HOST_CID), (header.src_cid, 3), (HOST_CID, header.src_cid)] {
        guest.send_raw(Header { src_cid, dst_cid, ..header }, &[]);
    }
    assert!(guest.receive_within(SOON).is_none());
}

#[test]
fn packets_that_are_none_hurt_nobody() {
    let (mut guest, mut program) = connected();
    let header = Header { len: 100, ..guest.header(op::RW, 1, 80) };
    // Shorter than it says; longer than any packet.
    guest.send_raw(header, b"short");
    guest.send_raw(Header { len: u32::MAX, ..header }, b"short");
    // No header, half of one, one that is not memory, only buffers to write.
    for buffer in [
        desc(ARENA, 0, 0, 0),
        desc(ARENA, 43, 0, 0),
        desc(MEMORY - 20, 44, 0, 0),
        desc(u64::MAX - 10, 44, 0, 0),
        desc(ARENA, 44, WRITE, 0),
    ] {
        guest.driver.send(TX, 0, &[buffer]);
        guest.driver.wait_used(TX);
    }
    guest.send_data(1, 80, b"fine");
    let mut bytes = [0; 4];
    program.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"fine");
}

#[test]
fn a_header_may_lie_in_pieces() {
    let (mut guest, mut program) = connected();
    let header = Header { len: 6, ..guest.header(op::RW, 1, 80) };
    let at = ARENA + (2 << 20);
    guest.driver.memory.write_slice(&header.to_bytes(), GuestAddress(at)).unwrap();
    guest.driver.memory.write_slice(b"pieces", GuestAddress(at + HEADER as u64)).unwrap();
    let pieces: Vec<_> = (0..5).map(|piece| desc(at + piece * 10, 10, 0, 0)).collect();
    guest.driver.send(TX, 0, &pieces);
    guest.driver.wait_used(TX);
    let mut bytes = [0; 6];
    program.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"pieces");
}

#[test]
fn a_guest_that_sends_more_than_it_may_is_cut_off() {
    let (mut guest, mut program) = connected();
    let data = vec![7; 32 << 10];
    let mut sent = 0;
    // The program reads nothing: its socket fills, then the device's buffer, then it is too much.
    let end = loop {
        guest.send_data(1, 80, &data);
        sent += data.len();
        match guest.receive_within(SOON) {
            Some((header, _)) if header.op == op::CREDIT_UPDATE => {}
            Some((header, _)) => break header,
            None => {}
        }
        assert!(sent < 4 << 20, "nobody stops it");
    };
    assert_eq!(end.op, op::RST);
    program.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut taken = Vec::new();
    program.read_to_end(&mut taken).unwrap();
    assert!(taken.len() <= sent && taken.iter().all(|byte| *byte == 7));
}

#[test]
fn the_guest_gets_no_more_than_it_has_room_for() {
    let mut guest = Guest::new();
    guest.room = 100;
    let (mut program, theirs) = UnixStream::pair().unwrap();
    guest.front.offer(80, theirs).unwrap();
    guest.connect(1, 80);
    program.write_all(&[1; 250]).unwrap();
    assert_eq!(guest.receive_data(100).len(), 100);
    assert_eq!(guest.receive().0.op, op::CREDIT_REQUEST);
    // It has none, and is not asked again; neither when it lies.
    guest.taken = 0;
    guest.send(op::CREDIT_UPDATE, 1, 80);
    guest.taken = 500;
    guest.send(op::CREDIT_UPDATE, 1, 80);
    assert!(guest.receive_within(SOON).is_none());
    guest.taken = 100;
    guest.send(op::CREDIT_UPDATE, 1, 80);
    assert_eq!(guest.receive_data(100).len(), 100);
    guest.room = u32::MAX;
    assert_eq!(guest.receive().0.op, op::CREDIT_REQUEST);
    guest.send(op::CREDIT_UPDATE, 1, 80);
    assert_eq!(guest.receive_data(50).len(), 50);
}

#[test]
fn one_slow_program_does_not_keep_others_waiting() {
    let (mut guest, _slow) = connected();
    let (mut quick, theirs) = UnixStream::pair().unwrap();
    guest.front.offer(80, theirs).unwrap();
    guest.connect(2, 80);
    let mut credit = BUF_ALLOC as usize;
    while credit > 0 {
        let part = credit.min(16 << 10);
        guest.send_data(1, 80, &vec![0; part]);
        credit -= part;
    }
    for round in 0..20_u8 {
        guest.send_data(2, 80, &[round; 1000]);
        let mut bytes = [0; 1000];
        quick.read_exact(&mut bytes).unwrap();
        quick.write_all(&bytes).unwrap();
        assert_eq!(guest.receive_data(1000), [round; 1000]);
    }
}

#[test]
fn connections_have_a_limit() {
    let mut guest = Guest::new();
    let listener = UnixListener::bind(port_path(&guest.path(), 80)).unwrap();
    let mut programs = Vec::new();
    let most = u32::try_from(MAX_CONNECTIONS).unwrap();
    for port in 0..most {
        guest.connect(port, 80);
        programs.push(listener.accept().unwrap());
    }
    guest.send(op::REQUEST, most, 80);
    assert_eq!(guest.receive().0.op, op::RST);
    // A program on the host is not let in either.
    assert_eq!(UnixStream::connect(guest.path()).unwrap().read(&mut [0]).unwrap(), 0);
    guest.send(op::RST, 5, 80);
    guest.connect(most, 80);
    // The same ports twice: neither side can know what that means.
    guest.send(op::REQUEST, most, 80);
    assert_eq!(guest.receive().0.op, op::RST);
}

#[test]
fn a_guest_that_takes_no_answers_is_not_listened_to() {
    let mut guest = Guest::without_buffers();
    let header = guest.header(op::RW, 1, 80);
    let (mut taken, mut made) = (0, 0);
    // It breaks off before long, and holds no more than it says.
    loop {
        while made - taken < QUEUE / 2 {
            guest.make_packet(header, &[]);
            made += 1;
        }
        guest.driver.arm(TX);
        if guest.driver.take_used(TX).is_some() {
            taken += 1;
        } else if guest.driver.interrupt_within(SOON).is_none() {
            break;
        }
        assert!(taken < 10_000);
    }
    assert!((256..300).contains(&taken), "{taken}");
    guest.post_all();
    for _ in 0..made {
        assert_eq!(guest.receive().0.op, op::RST);
    }
}

#[test]
fn a_receive_buffer_without_room_breaks_the_queue() {
    for buffer in [
        desc(ARENA, 44, WRITE, 0),
        desc(ARENA, 10, WRITE, 0),
        desc(ARENA, 4096, 0, 0),
        desc(MEMORY - 10, 4096, WRITE, 0),
    ] {
        let mut guest = Guest::without_buffers();
        guest.driver.send(RX, 0, &[buffer]);
        let (mut program, theirs) = UnixStream::pair().unwrap();
        guest.front.call(1, theirs).unwrap();
        guest.driver.wait_broken();
        assert_ne!(guest.driver.status() & NEEDS_RESET, 0);
        guest.driver.start(u64::MAX, QUEUE);
        guest.post_all();
        assert_eq!(program.read(&mut [0]).unwrap(), 0, "what the broken one held is closed");
        guest.send(op::REQUEST, 1, 80);
        assert_eq!(guest.receive().0.op, op::RST);
    }
}
