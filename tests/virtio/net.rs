//! The network device on a stream socket, as its driver and its peer see it.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use duplex::vm::devices::virtio::net::{Counters, Settings};
use vm_memory::{Bytes, GuestAddress};

use crate::driver::{ARENA, Desc, Driver, NEXT, WRITE, desc};
use crate::nic::{HEADER, MAC, MERGES, Peer, RX, TX, frame, on_link, settings};

const ALL: u64 = u64::MAX;
/// What comes by changes of the configuration.
const CONFIGURATION: u32 = 2;

fn nic(features: u64, settings: Settings) -> (Driver, Peer, Arc<Counters>) {
    let (stream, peer) = Peer::pair();
    let (device, counters) = on_link(stream, settings);
    (Driver::ready(device, features, 16), peer, counters)
}

/// Puts a frame with an empty header where a chain can have it, and sends it in pieces.
fn send(driver: &mut Driver, bytes: &[u8], pieces: &[u32]) {
    let mut packet = vec![0; HEADER as usize];
    packet.extend(bytes);
    driver.memory.write_slice(&packet, GuestAddress(ARENA)).unwrap();
    let mut at = 0;
    let total = u32::try_from(packet.len()).unwrap();
    let mut chain: Vec<Desc> = Vec::new();
    for piece in pieces.iter().chain([&total]) {
        let len = (*piece).min(total - at);
        if len > 0 {
            chain.push(desc(ARENA + u64::from(at), len, 0, 0));
        }
        at += len;
    }
    driver.send(TX, 0, &chain);
}

/// Lends `count` buffers of `len` bytes from `head` on; where buffer `head` lies is [`place`].
fn lend(driver: &mut Driver, head: u16, count: u16, len: u32) {
    for head in head..head + count {
        driver.send(RX, head, &[desc(place(head), len, WRITE, 0)]);
    }
}

fn place(head: u16) -> u64 {
    ARENA + 0x10_0000 + u64::from(head) * 0x1_0000
}

fn bytes(driver: &Driver, gpa: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    driver.memory.read_slice(&mut bytes, GuestAddress(gpa)).unwrap();
    bytes
}

#[test]
fn the_configuration_says_who_it_is() {
    let (driver, _peer, _) = nic(ALL, settings());
    let space: Vec<u8> = (0..3).flat_map(|at| driver.read(0x100 + at * 4).to_le_bytes()).collect();
    assert_eq!(space[..6], MAC);
    assert_eq!(space[6..], [1, 0, 0, 0, 0xDC, 5], "link up, one pair of queues, MTU 1500");
}

#[test]
fn a_frame_arrives_whatever_its_framing() {
    for pieces in [&[][..], &[12], &[5, 7], &[13, 1, 1, 100], &[1; 13]] {
        let (mut driver, mut peer, counters) = nic(ALL, settings());
        let sent = frame(1514, 3);
        send(&mut driver, &sent, pieces);
        assert_eq!(peer.receive(), sent, "{pieces:?}");
        assert_eq!(driver.wait_used(TX), (0, 0));
        assert_eq!((counters.sent.packets(), counters.sent.bytes()), (1, 1514));
    }
}

#[test]
fn a_frame_that_comes_lies_behind_its_header() {
    for features in [ALL, !MERGES] {
        let (mut driver, mut peer, counters) = nic(features, settings());
        lend(&mut driver, 0, 1, 2000);
        let came = frame(1000, 9);
        peer.send(&came);
        assert_eq!(driver.wait_used(RX), (0, HEADER + 1000));
        assert_eq!(bytes(&driver, place(0), 12), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(bytes(&driver, place(0) + 12, 1000), came);
        assert_eq!(driver.get::<u64>(place(0) + 1012), 0, "nothing behind it was written");
        assert_eq!(counters.received.packets(), 1);
    }
}

#[test]
fn a_frame_is_spread_over_as_many_chains_as_it_needs() {
    let (mut driver, mut peer, _) = nic(ALL, settings());
    lend(&mut driver, 0, 8, 400);
    let came = frame(1000, 5);
    peer.send(&came);
    let used: Vec<(u32, u32)> = (0..3).map(|_| driver.wait_used(RX)).collect();
    assert_eq!(used, [(0, 400), (1, 400), (2, 212)]);
    assert_eq!(driver.get::<u16>(place(0) + 10), 3);
    let mut got = bytes(&driver, place(0) + 12, 388);
    got.extend(bytes(&driver, place(1), 400));
    got.extend(bytes(&driver, place(2), 212));
    assert_eq!(got, came);
    // The next one takes the next chains.
    lend(&mut driver, 8, 2, 400);
    peer.send(&frame(14, 1));
    assert_eq!(driver.wait_used(RX), (3, 26));
}

#[test]
fn a_header_may_be_spread_over_buffers() {
    let (mut driver, mut peer, _) = nic(ALL, settings());
    let at = |n: u64| place(0) + n * 64;
    let chain = [desc(at(0), 1, WRITE, 0), desc(at(1), 10, WRITE, 0), desc(at(2), 2000, WRITE, 0)];
    driver.send(RX, 0, &chain);
    peer.send(&frame(60, 1));
    assert_eq!(driver.wait_used(RX), (0, 72));
    assert_eq!(bytes(&driver, at(1) + 9, 1), [1], "num_buffers");
    assert_eq!(bytes(&driver, at(2) + 1, 60), frame(60, 1));
}

#[test]
fn receiving_waits_for_buffers_and_loses_nothing() {
    for features in [ALL, !(1 << 29)] {
        let (mut driver, mut peer, counters) = nic(features, settings());
        for seed in 0..5 {
            peer.send(&frame(100, seed));
        }
        for seed in 0..5 {
            lend(&mut driver, 0, 1, 2000);
            assert_eq!(driver.wait_used(RX), (0, 112));
            assert_eq!(bytes(&driver, place(0) + 12, 100), frame(100, seed));
        }
        assert_eq!(counters.received.drops(), 0);
    }
}

#[test]
fn a_frame_that_does_not_fit_is_dropped_and_the_next_one_is_not() {
    let (mut driver, mut peer, counters) = nic(!MERGES, settings());
    lend(&mut driver, 0, 1, 112);
    peer.send(&frame(101, 0));
    peer.send(&frame(100, 1));
    assert_eq!(driver.wait_used(RX), (0, 112));
    assert_eq!(bytes(&driver, place(0) + 12, 100), frame(100, 1));
    assert_eq!(counters.received.drops(), 1);
}

#[test]
fn buffers_of_no_use_come_back_empty() {
    let (mut driver, mut peer, counters) = nic(ALL, settings());
    for (head, bad) in (0..).zip([
        desc(place(0), 11, WRITE, 0),
        desc(place(0), 2000, 0, 0),
        desc(u64::MAX - 100, 2000, WRITE, 0),
        desc(0, u32::MAX, WRITE, 0),
    ]) {
        driver.send(RX, head, &[bad]);
        assert_eq!(driver.wait_used(RX), (head.into(), 0));
    }
    assert_eq!(counters.received.drops(), 4);
    lend(&mut driver, 0, 1, 2000);
    peer.send(&frame(64, 2));
    assert_eq!(driver.wait_used(RX), (0, 76));
}

#[test]
fn packets_that_lie_are_dropped_and_counted() {
    let (mut driver, mut peer, counters) = nic(ALL, settings());
    let mut expected = 0;
    let mut lies: Vec<Vec<Desc>> = vec![
        vec![desc(ARENA, 11, 0, 0)],
        vec![desc(ARENA, 25, 0, 0)],
        vec![desc(ARENA, 2000, WRITE, 0)],
        vec![desc(ARENA, 12, 0, 0), desc(u64::MAX - 100, 100, 0, 0)],
        vec![desc(ARENA, 12, 0, 0), desc(ARENA, 70_000, 0, 0)],
        vec![desc(ARENA, 12, 0, 0), desc(ARENA, u32::MAX - 12, 0, 0)],
    ];
    // Offloads that this link does not have.
    for (at, header) in (1..).zip([[1_u8, 0], [0, 1], [1, 4], [1, 0x81], [0, 0xFF]]) {
        driver.put(ARENA + at * 64, header);
        lies.push(vec![desc(ARENA + at * 64, 1000, 0, 0)]);
    }
    for lie in lies {
        driver.send(TX, 0, &lie);
        assert_eq!(driver.wait_used(TX), (0, 0));
        expected += 1;
        assert_eq!(counters.sent.drops(), expected, "{lie:?}");
    }
    send(&mut driver, &frame(60, 1), &[]);
    assert_eq!(peer.receive(), frame(60, 1));
}

#[test]
fn a_peer_that_reads_nothing_holds_the_sender_back_and_gets_all() {
    let (mut driver, mut peer, counters) = nic(ALL, settings());
    let mut sent = 0;
    let big = frame(60_000, 4);
    // Until the socket is full: then a frame is half sent.
    loop {
        send(&mut driver, &big, &[]);
        sent += 1;
        if driver.interrupt_within(Duration::from_millis(200)).is_none() {
            break;
        }
        driver.take_used(TX).unwrap();
        driver.arm(TX);
        assert!(sent < 1000, "a socket without bounds");
    }
    for _ in 0..sent {
        assert_eq!(peer.receive(), big);
    }
    assert_eq!(driver.wait_used(TX), (0, 0));
    assert_eq!(counters.sent.packets(), sent);
}

#[test]
fn a_reset_in_the_middle_of_frames_keeps_the_stream_in_step() {
    let (mut driver, mut peer, _) = nic(ALL, settings());
    let big = frame(60_000, 4);
    let mut whole = 0;
    loop {
        send(&mut driver, &big, &[]);
        if driver.interrupt_within(Duration::from_millis(200)).is_none() {
            break;
        }
        driver.take_used(TX).unwrap();
        driver.arm(TX);
        whole += 1;
    }
    // Half a frame comes, too.
    lend(&mut driver, 0, 1, 2000);
    peer.0.write_all(&[0, 0, 0, 100, 1, 2, 3]).unwrap();
    driver.start(ALL, 16);
    peer.0.write_all(&[7; 97]).unwrap();
    peer.send(&frame(80, 6));
    lend(&mut driver, 0, 1, 2000);
    assert_eq!(driver.wait_used(RX), (0, 92));
    assert_eq!(bytes(&driver, place(0) + 12, 80), frame(80, 6));
    send(&mut driver, &frame(60, 1), &[]);
    for _ in 0..whole {
        assert_eq!(peer.receive(), big);
    }
    assert_eq!(peer.receive().len(), big.len(), "the rest of what was begun, whatever it is");
    assert_eq!(peer.receive(), frame(60, 1));
}

#[test]
fn a_peer_that_goes_takes_the_link_down() {
    for frame in [None, Some(u32::MAX)] {
        let (mut driver, mut peer, _) = nic(ALL, settings());
        lend(&mut driver, 0, 1, 2000);
        if let Some(length) = frame {
            // One that nobody can follow any more is as good as gone.
            peer.0.write_all(&length.to_be_bytes()).unwrap();
        } else {
            drop(peer);
        }
        assert_eq!(driver.interrupt() & CONFIGURATION, CONFIGURATION);
        assert_eq!(driver.read(0x104) >> 16, 0, "link down");
        send(&mut driver, &[0; 60], &[]);
        assert_eq!(driver.wait_used(TX), (0, 0));
    }
}

#[test]
fn a_rate_holds_both_ways() {
    let limited = Settings { bytes_per_second: Some(100_000), ..settings() };
    let (mut driver, mut peer, _) = nic(ALL, limited);
    let start = Instant::now();
    // A tenth of a second is the burst: 10 KB of 40.
    for _ in 0..40 {
        send(&mut driver, &frame(1000, 1), &[]);
        driver.wait_used(TX);
        peer.receive();
    }
    let sent = start.elapsed();
    assert!(sent > Duration::from_millis(250), "{sent:?}");
    let packets = Settings { packets_per_second: Some(100), ..settings() };
    let (mut driver, mut peer, counters) = nic(ALL, packets);
    let start = Instant::now();
    for _ in 0..40 {
        peer.send(&frame(60, 1));
        lend(&mut driver, 0, 1, 2000);
        driver.wait_used(RX);
    }
    let received = start.elapsed();
    assert!(received > Duration::from_millis(250), "{received:?}");
    assert_eq!(counters.received.packets(), 40);
}

#[test]
fn a_chain_that_loops_breaks_the_device() {
    for queue in [RX, TX] {
        let (mut driver, _peer, _) = nic(ALL, settings());
        let table = driver.rings[queue].descriptors;
        driver.put_descriptors(table, 0, &[desc(ARENA, 100, NEXT, 0)]);
        driver.make_available(queue, 0);
        driver.kick(queue);
        driver.wait_broken();
    }
}
