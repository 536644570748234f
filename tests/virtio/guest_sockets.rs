//! A guest's socket driver: packets in and out of the queues.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use duplex::vm::devices::virtio::event_thread::EventThread;
use duplex::vm::devices::virtio::vsock::Vsock;
use duplex::vm::devices::virtio::vsock::front::Front;
use duplex::vm::devices::virtio::vsock::listener::Listener;
use duplex::vm::devices::virtio::vsock::packet::{HEADER, HOST_CID, Header, TYPE_STREAM, op};
use vm_memory::{Bytes, GuestAddress};

use crate::driver::{ARENA, Driver, WRITE, desc};

pub(crate) const CID: u64 = 52;
pub(crate) const QUEUE: u16 = 16;
pub(crate) const RX: usize = 0;
pub(crate) const TX: usize = 1;
/// What Linux gives its receive buffers.
const BUFFER: u64 = 4096;
const OUTGOING: u64 = ARENA + (1 << 20);

/// A guest with the device, and the host's end of it.
pub(crate) struct Guest {
    pub(crate) driver: Driver,
    pub(crate) front: Arc<Front>,
    pub(crate) directory: tempfile::TempDir,
    /// How much room the guest says it has, and how much has left that.
    pub(crate) room: u32,
    pub(crate) taken: u32,
}

impl Guest {
    /// With all receive buffers posted.
    pub(crate) fn new() -> Guest {
        let mut guest = Guest::without_buffers();
        guest.post_all();
        guest
    }

    pub(crate) fn without_buffers() -> Guest {
        let directory = tempfile::tempdir().unwrap();
        let listener = Listener::bind(&directory.path().join("v")).unwrap();
        let front = Arc::new(Front::new(Some(listener)).unwrap());
        let thread = Arc::new(EventThread::start("test").unwrap());
        let device = Vsock::new(u32::try_from(CID).unwrap(), front.clone(), thread);
        let driver = Driver::ready(Box::new(device), u64::MAX, QUEUE);
        Guest { driver, front, directory, room: 256 << 10, taken: 0 }
    }

    pub(crate) fn post_all(&mut self) {
        for slot in 0..QUEUE {
            self.post(slot);
        }
    }

    fn post(&mut self, slot: u16) {
        let gpa = ARENA + u64::from(slot) * BUFFER;
        self.driver.send(RX, slot, &[desc(gpa, 4096, WRITE, 0)]);
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("v")
    }

    /// A packet's header as this guest would write it.
    pub(crate) fn header(&self, op: u16, guest: u32, host: u32) -> Header {
        Header {
            src_cid: CID,
            dst_cid: HOST_CID,
            src_port: guest,
            dst_port: host,
            socket_type: TYPE_STREAM,
            op,
            buf_alloc: self.room,
            fwd_cnt: self.taken,
            ..Header::default()
        }
    }

    /// Sends a packet as it is.
    pub(crate) fn send_raw(&mut self, header: Header, data: &[u8]) {
        self.make_packet(header, data);
        self.driver.wait_used(TX);
    }

    /// Sends one without waiting for it to be taken.
    pub(crate) fn make_packet(&mut self, header: Header, data: &[u8]) {
        let slot = self.driver.rings[TX].next_available % (QUEUE / 2);
        let gpa = OUTGOING + u64::from(slot) * 0x2_0000;
        self.driver.memory.write_slice(&header.to_bytes(), GuestAddress(gpa)).unwrap();
        self.driver.memory.write_slice(data, GuestAddress(gpa + 0x100)).unwrap();
        let head = desc(gpa, u32::try_from(HEADER).unwrap(), 0, 0);
        let body = desc(gpa + 0x100, u32::try_from(data.len()).unwrap(), 0, 0);
        let chain = [head, body];
        let chain = if data.is_empty() { &chain[..1] } else { &chain[..] };
        self.driver.send(TX, slot * 2, chain);
    }

    pub(crate) fn send(&mut self, op: u16, guest: u32, host: u32) {
        self.send_raw(self.header(op, guest, host), &[]);
    }

    pub(crate) fn send_data(&mut self, guest: u32, host: u32, data: &[u8]) {
        let len = u32::try_from(data.len()).unwrap();
        self.send_raw(Header { len, ..self.header(op::RW, guest, host) }, data);
    }

    pub(crate) fn shut_down(&mut self, guest: u32, host: u32, flags: u32) {
        self.send_raw(Header { flags, ..self.header(op::SHUTDOWN, guest, host) }, &[]);
    }

    /// The next packet, whose buffer goes back.
    pub(crate) fn receive(&mut self) -> (Header, Vec<u8>) {
        let (slot, len) = self.driver.wait_used(RX);
        let packet = self.read(slot, len);
        self.post(u16::try_from(slot).unwrap());
        packet
    }

    /// The next packet, if one comes soon.
    pub(crate) fn receive_within(&mut self, patience: Duration) -> Option<(Header, Vec<u8>)> {
        self.driver.arm(RX);
        loop {
            if let Some((slot, len)) = self.driver.take_used(RX) {
                let packet = self.read(slot, len);
                self.post(u16::try_from(slot).unwrap());
                return Some(packet);
            }
            self.driver.interrupt_within(patience)?;
        }
    }

    fn read(&mut self, slot: u32, len: u32) -> (Header, Vec<u8>) {
        let mut packet = vec![0; usize::try_from(len).unwrap()];
        let gpa = GuestAddress(ARENA + u64::from(slot) * BUFFER);
        self.driver.memory.read_slice(&mut packet, gpa).unwrap();
        let data = packet.split_off(HEADER);
        let header = Header::from_bytes(&packet.try_into().unwrap());
        assert_eq!((header.src_cid, header.dst_cid), (HOST_CID, CID));
        assert_eq!(usize::try_from(header.len).unwrap(), data.len());
        self.taken = self.taken.wrapping_add(header.len);
        (header, data)
    }

    /// The next packet that is no credit update.
    pub(crate) fn receive_important(&mut self) -> (Header, Vec<u8>) {
        loop {
            let packet = self.receive();
            if packet.0.op != op::CREDIT_UPDATE {
                return packet;
            }
        }
    }

    /// Connects to a port of the host at which somebody listens.
    pub(crate) fn connect(&mut self, guest: u32, host: u32) {
        self.send(op::REQUEST, guest, host);
        let (answer, _) = self.receive_important();
        assert_eq!((answer.op, answer.src_port, answer.dst_port), (op::RESPONSE, host, guest));
    }

    /// Receives `len` bytes of data.
    pub(crate) fn receive_data(&mut self, len: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < len {
            let (header, data) = self.receive_important();
            assert_eq!(header.op, op::RW, "{header:?}");
            all.extend(data);
        }
        all
    }
}
