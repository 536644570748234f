//! The network device on a tap, in a network namespace of the test's own: the host's kernel is the
//! peer, and checks what it gets.

use std::net::UdpSocket;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use duplex::vm::devices::virtio::net::Counters;
use duplex::vm::devices::virtio::net::tap::{Tap, TapError};
use vm_memory::{Bytes, GuestAddress};

use crate::common::say;
use crate::driver::{ARENA, Driver, WRITE, desc};
use crate::nic::{HEADER, MAC, RX, TX, on_link, settings};

const HOST: [u8; 4] = [10, 9, 8, 1];
const GUEST: [u8; 4] = [10, 9, 8, 2];
/// VIRTIO_NET_F_CSUM and VIRTIO_NET_F_GUEST_CSUM.
const CHECKSUMS: u64 = 3;
const NEEDS_CSUM: u8 = 1;

/// Runs `test` on a thread in a network namespace of its own, where that is allowed.
pub(crate) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(|| {
        if nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).is_err() {
            say("SKIPPED: network namespaces take root");
            return;
        }
        test();
    });
    thread.join().unwrap();
}

pub(crate) fn ip(command: &str) {
    let status = Command::new("ip").args(command.split(' ')).status().unwrap();
    assert!(status.success(), "ip {command}");
}

/// A tap with an address, a neighbour that is the guest, and nobody else who talks.
fn make_tap(mtu: u16) {
    ip("tuntap add tap0 mode tap");
    ip(&format!("link set tap0 mtu {mtu}"));
    ip("addr add 10.9.8.1/24 dev tap0");
    ip("link set tap0 addrgenmode none");
    ip("link set tap0 up");
    ip("neigh add 10.9.8.2 lladdr 52:54:00:01:02:03 dev tap0");
}

fn nic(features: u64) -> (Driver, Arc<Counters>) {
    let tap = Tap::open("tap0", None).unwrap();
    let (device, counters) = on_link(tap, settings());
    (Driver::ready(device, features, 16), counters)
}

fn sum(bytes: &[u8], start: u32) -> u16 {
    let words =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = start + words.sum::<u32>();
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

/// A UDP packet from the guest to the host, whose UDP checksum is that of its pseudo header only.
fn udp(host_mac: [u8; 6], port: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + data.len()).unwrap();
    let mut ip = vec![0x45, 0];
    ip.extend((20 + length).to_be_bytes());
    ip.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    ip.extend(GUEST);
    ip.extend(HOST);
    let checksum = !sum(&ip, 0);
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    let pseudo = sum(&ip[12..20], 17 + u32::from(length));
    let mut frame = [&host_mac[..], &MAC, &[8, 0], &ip].concat();
    frame.extend(7_u16.to_be_bytes());
    frame.extend(port.to_be_bytes());
    frame.extend(length.to_be_bytes());
    frame.extend(pseudo.to_be_bytes());
    frame.extend(data);
    frame
}

/// Sends to the guest until something arrives: a tap that was just attached drops packets until the
/// kernel has heard of its carrier.
fn answer(driver: &mut Driver, socket: &UdpSocket, data: &[u8]) -> (u32, u32) {
    for _ in 0..100 {
        socket.send_to(data, "10.9.8.2:7").unwrap();
        driver.arm(RX);
        driver.interrupt_within(Duration::from_millis(200));
        if let Some(used) = driver.take_used(RX) {
            return used;
        }
    }
    panic!("nothing arrives");
}

fn tap_mac() -> [u8; 6] {
    let output = Command::new("ip").args(["-br", "link", "show", "tap0"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mac = text.split_whitespace().nth(2).unwrap().to_owned();
    let bytes: Vec<u8> = mac.split(':').map(|b| u8::from_str_radix(b, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

#[test]
fn checksums_are_left_to_the_other_side_both_ways() {
    in_namespace(|| {
        make_tap(1500);
        let (mut driver, counters) = nic(u64::MAX);
        let socket = UdpSocket::bind("10.9.8.1:4000").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let frame = udp(tap_mac(), 4000, b"hello, host");
        let mut packet = vec![0; HEADER as usize];
        packet[0] = NEEDS_CSUM;
        packet[6..10].copy_from_slice(&[34, 0, 6, 0]);
        packet.extend(&frame);
        driver.memory.write_slice(&packet, GuestAddress(ARENA)).unwrap();
        driver.send(TX, 0, &[desc(ARENA, u32::try_from(packet.len()).unwrap(), 0, 0)]);
        assert_eq!(driver.wait_used(TX), (0, 0));
        let mut data = [0; 100];
        let (length, from) = socket.recv_from(&mut data).unwrap();
        assert_eq!((&data[..length], from.port()), (&b"hello, host"[..], 7));
        // The way back: the host leaves the checksum to the guest.
        for head in 0..16 {
            let at = ARENA + 0x10_0000 + u64::from(head) * 0x1_0000;
            driver.send(RX, head, &[desc(at, 8192, WRITE, 0)]);
        }
        let at = ARENA + 0x10_0000;
        assert_eq!(answer(&mut driver, &socket, b"hello, guest"), (0, HEADER + 42 + 12));
        assert_eq!(driver.get::<u8>(at), NEEDS_CSUM);
        assert_eq!(driver.get::<u16>(at + 10), 1);
        let mut text = [0; 12];
        driver.memory.read_slice(&mut text, GuestAddress(at + 12 + 42)).unwrap();
        assert_eq!(&text, b"hello, guest");
        assert_eq!((counters.sent.drops(), counters.received.drops()), (0, 0));
    });
}

#[test]
fn a_driver_without_offloads_gets_whole_checksums() {
    in_namespace(|| {
        make_tap(1500);
        let (mut driver, _) = nic(!CHECKSUMS);
        let at = ARENA + 0x10_0000;
        driver.send(RX, 0, &[desc(at, 8192, WRITE, 0)]);
        let socket = UdpSocket::bind("10.9.8.1:4000").unwrap();
        assert_eq!(answer(&mut driver, &socket, b"hi"), (0, HEADER + 44));
        assert_eq!(driver.get::<u8>(at), 0);
        let mut packet = [0; 30];
        driver.memory.read_slice(&mut packet, GuestAddress(at + 12 + 14)).unwrap();
        assert_eq!(sum(&packet[12..], 17 + 10), 0xFFFF, "{packet:?}");
    });
}

#[test]
fn a_tap_that_is_removed_takes_the_link_down() {
    in_namespace(|| {
        make_tap(1500);
        let (mut driver, _) = nic(u64::MAX);
        driver.send(RX, 0, &[desc(ARENA, 8192, WRITE, 0)]);
        ip("link del tap0");
        while driver.read(0x104) >> 16 != 0 {
            driver.interrupt();
        }
    });
}

#[test]
fn a_tap_that_cannot_be_had_is_told_with_a_remedy() {
    in_namespace(|| {
        let error = |name: &str, mtu| Tap::open(name, mtu).map(|_| ()).unwrap_err();
        assert!(matches!(error("tap0", None), TapError::Missing(..)));
        assert!(error("tap0", None).to_string().contains("ip tuntap add tap0 mode tap user root"));
        assert!(
            Command::new("ip").args(["link", "show", "tap0"]).status().is_ok_and(|s| !s.success())
        );
        assert!(matches!(error("lo", None), TapError::NoTap(_)));
        make_tap(1500);
        assert!(matches!(error("tap0", Some(1501)), TapError::Mtu(_, 1500, 1501)));
        let held = Tap::open("tap0", Some(1400)).unwrap();
        assert_eq!(held.mtu(), 1400);
        assert!(matches!(error("tap0", None), TapError::InUse(_)));
        ip("tuntap add tap1 mode tap multi_queue");
        assert!(Tap::open("tap1", None).is_ok());
    });
}
