//! What a packet costs an interface or the socket device itself, in CPU time of all its threads and of the
//! host's kernel for them; the driver, which is the tests' mock driver, and the peer are not counted.
//! Without KVM: `cargo bench --bench packets`; as root for what goes over a tap.
#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{self, Read, Write};
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use criterion::measurement::Measurement;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use duplex::vm::devices::virtio::net::header::{Header, Offloads};
use duplex::vm::devices::virtio::net::link::{Link, Received};
use duplex::vm::devices::virtio::net::tap::Tap;
use duplex::vm::devices::virtio::vsock::front::port_path;
use duplex::vm::devices::virtio::vsock::packet::op;
use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

#[path = "common/device_time.rs"]
mod device_time;
#[path = "../tests/virtio/driver.rs"]
mod driver;
#[path = "../tests/virtio/guest_sockets.rs"]
mod guest_sockets;
#[path = "../tests/virtio/nic.rs"]
mod nic;

use device_time::DeviceTime;
use driver::{ARENA, Driver, WRITE, desc};
use guest_sockets::Guest;
use nic::{HEADER, MAC, RX, TX, on_link, settings};

const QUEUE: u16 = 128;
/// The largest frame of an MTU of 1500.
const FRAME: usize = 1514;
/// Linux's buffers, with room for the frame and its header.
const BUFFER: u32 = 2048;
const DEPTHS: [u16; 2] = [1, 32];

/// A link that takes everything, and has as many frames as it is told: what is left is rings, chains and
/// threads.
struct Nowhere {
    ready: EventFd,
    frames: Arc<AtomicU16>,
}

impl Link for Nowhere {
    fn fd(&self) -> RawFd {
        self.ready.as_raw_fd()
    }

    fn offloads(&self) -> bool {
        true
    }

    fn start(&mut self, _driver: Offloads) -> io::Result<()> {
        Ok(())
    }

    fn send(&mut self, _header: &Header, _frame: &[libc::iovec]) -> io::Result<bool> {
        Ok(true)
    }

    fn receive(&mut self, _header: &mut Header, _room: &[libc::iovec]) -> io::Result<Received> {
        let take = |left: u16| left.checked_sub(1);
        if self.frames.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok() {
            return Ok(Received::Frame(FRAME));
        }
        let _ = self.ready.read();
        Ok(Received::Nothing)
    }

    fn stop(&mut self) {}
}

/// A driver with all its receive buffers lent, and a frame to an address that nobody has in each of those
/// for sending.
fn start(link: impl Link + 'static) -> Driver {
    let (device, _) = on_link(link, settings());
    let mut driver = Driver::ready(device, u64::MAX, QUEUE);
    let mut packet = vec![0; usize::try_from(HEADER).unwrap() + FRAME];
    packet[12..18].copy_from_slice(&[0x52, 0x54, 0, 9, 9, 9]);
    packet[18..24].copy_from_slice(&MAC);
    packet[24..26].copy_from_slice(&[8, 0]);
    let outgoing = ARENA + u64::from(QUEUE) * u64::from(BUFFER);
    for slot in 0..QUEUE {
        let gpa = outgoing + u64::from(slot) * u64::from(BUFFER);
        driver.memory.write_slice(&packet, GuestAddress(gpa)).unwrap();
        let sent = desc(gpa, u32::try_from(packet.len()).unwrap(), 0, 0);
        driver.put_descriptors(driver.rings[TX].descriptors, slot, &[sent]);
        let room = desc(ARENA + u64::from(slot) * u64::from(BUFFER), BUFFER, WRITE, 0);
        driver.put_descriptors(driver.rings[RX].descriptors, slot, &[room]);
        driver.make_available(RX, slot);
    }
    driver.kick(RX);
    driver
}

/// Sends so many frames and waits until they are sent.
fn send(driver: &mut Driver, depth: u16) {
    for slot in 0..depth {
        driver.make_available(TX, slot);
    }
    if depth > 1 || driver.wants_kick(TX) {
        driver.kick(TX);
    }
    for _ in 0..depth {
        driver.wait_used(TX);
    }
}

/// Receives so many frames, and lends the buffers again.
fn receive(driver: &mut Driver, depth: u16) {
    for _ in 0..depth {
        let (head, _) = driver.wait_used(RX);
        driver.make_available(RX, u16::try_from(head).unwrap());
        if driver.wants_kick(RX) {
            driver.kick(RX);
        }
    }
}

fn each_depth<M: Measurement>(
    criterion: &mut Criterion<M>,
    group: &str,
    name: &str,
    mut round: impl FnMut(u16),
) {
    let mut group = criterion.benchmark_group(group);
    for depth in DEPTHS {
        group.throughput(Throughput::Elements(depth.into()));
        group.bench_function(BenchmarkId::new(name, depth), |bencher| {
            bencher.iter(|| round(depth));
        });
    }
    group.finish();
}

fn interface(criterion: &mut Criterion<DeviceTime>) {
    let ready = EventFd::new(EFD_NONBLOCK).unwrap();
    let frames = Arc::new(AtomicU16::new(0));
    let bell = ready.try_clone().unwrap();
    let mut driver = start(Nowhere { ready, frames: frames.clone() });
    each_depth(criterion, "interface", "send", |depth| send(&mut driver, depth));
    each_depth(criterion, "interface", "receive", |depth| {
        frames.store(depth, Ordering::Release);
        bell.write(1).unwrap();
        receive(&mut driver, depth);
    });
}

fn ip(command: &str) {
    assert!(Command::new("ip").args(command.split(' ')).status().unwrap().success(), "{command}");
}

fn tap(criterion: &mut Criterion<DeviceTime>) {
    if nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).is_err() {
        eprintln!("SKIPPED: network namespaces take root");
        return;
    }
    ip("tuntap add tap0 mode tap");
    ip("addr add 10.9.8.1/24 dev tap0");
    ip("link set tap0 addrgenmode none");
    ip("link set tap0 up");
    ip("neigh add 10.9.8.2 lladdr 52:54:00:01:02:03 dev tap0");
    let mut driver = start(Tap::open("tap0", None).unwrap());
    each_depth(criterion, "tap", "send", |depth| send(&mut driver, depth));
    let socket = UdpSocket::bind("10.9.8.1:0").unwrap();
    // An Ethernet, an IP and a UDP header come with it.
    let data = [7; FRAME - 42];
    let to_guest = || socket.send_to(&data, "10.9.8.2:7").unwrap();
    // A tap drops packets until the kernel has heard of its carrier.
    loop {
        to_guest();
        driver.arm(RX);
        if driver.interrupt_within(Duration::from_millis(200)).is_some() {
            break;
        }
    }
    receive(&mut driver, 1);
    each_depth(criterion, "tap", "receive", |depth| {
        for _ in 0..depth {
            to_guest();
        }
        receive(&mut driver, depth);
    });
}

fn sockets(criterion: &mut Criterion<DeviceTime>) {
    const DATA: usize = 4096 - 44;
    let mut guest = Guest::new();
    let listener = UnixListener::bind(port_path(&guest.path(), 80)).unwrap();
    guest.connect(1000, 80);
    let (mut program, _) = listener.accept().unwrap();
    let data = [7; DATA];
    let mut came = [0; DATA];
    let mut group = criterion.benchmark_group("sockets");
    group.throughput(Throughput::Elements(1));
    group.bench_function("send", |bencher| {
        bencher.iter(|| {
            guest.send_data(1000, 80, &data);
            program.read_exact(&mut came).unwrap();
            while let Some((packet, _)) = guest.receive_within(Duration::ZERO) {
                assert_eq!(packet.op, op::CREDIT_UPDATE);
            }
        });
    });
    group.bench_function("receive", |bencher| {
        bencher.iter(|| {
            program.write_all(&data).unwrap();
            guest.receive_data(DATA);
            // Its room as it is now.
            guest.send(op::CREDIT_UPDATE, 1000, 80);
        });
    });
    group.finish();
}

criterion_group! {
    name = packets;
    config = Criterion::default().with_measurement(DeviceTime).sample_size(30);
    targets = interface, tap, sockets
}
criterion_main!(packets);
