//! A small back end of vhost-user, which can go wrong on purpose: it answers each chain of a request queue
//! with a word.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryMmap};

// Requests, by the protocol's numbers.
pub(crate) const GET_FEATURES: u32 = 1;
pub(crate) const SET_FEATURES: u32 = 2;
pub(crate) const SET_OWNER: u32 = 3;
pub(crate) const SET_MEM_TABLE: u32 = 5;
pub(crate) const SET_VRING_NUM: u32 = 8;
pub(crate) const SET_VRING_ADDR: u32 = 9;
pub(crate) const SET_VRING_BASE: u32 = 10;
pub(crate) const GET_VRING_BASE: u32 = 11;
pub(crate) const SET_VRING_KICK: u32 = 12;
pub(crate) const SET_VRING_CALL: u32 = 13;
pub(crate) const GET_PROTOCOL_FEATURES: u32 = 15;
pub(crate) const SET_PROTOCOL_FEATURES: u32 = 16;
pub(crate) const SET_VRING_ENABLE: u32 = 18;

const REPLY: u32 = 4;
const NEED_REPLY: u32 = 8;
const REPLY_ACK: u64 = 1 << 3;
/// VIRTIO_F_VERSION_1, EVENT_IDX and INDIRECT_DESC, and VHOST_USER_F_PROTOCOL_FEATURES.
const FEATURES: u64 = 1 << 32 | 1 << 29 | 1 << 28 | 1 << 30;

pub(crate) const ANSWER: &[u8] = b"served";

/// What it does at a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    Dies(u32),
    IsSilent(u32),
    Refuses(u32),
    TalksNonsense(u32),
    LacksFeatures,
    /// It keeps the chains that it takes.
    NeverServes,
}

pub(crate) struct BackEnd {
    /// The requests that came.
    pub(crate) asked: Receiver<u32>,
    handle: Option<JoinHandle<()>>,
    connection: UnixStream,
}

impl BackEnd {
    /// Starts it; returns it with the front end's socket.
    pub(crate) fn start(fault: Fault) -> (BackEnd, UnixStream) {
        let (theirs, ours) = UnixStream::pair().unwrap();
        let (tell, asked) = channel();
        let connection = ours.try_clone().unwrap();
        let handle = thread::spawn(move || Served::new(ours, fault, tell).run());
        (BackEnd { asked, handle: Some(handle), connection }, theirs)
    }

    /// As if it had been killed.
    pub(crate) fn kill(&self) {
        let _ = self.connection.shutdown(std::net::Shutdown::Both);
    }

    /// Waits until a request of this kind has come.
    pub(crate) fn wait_for(&self, request: u32) {
        while self.asked.recv_timeout(std::time::Duration::from_secs(20)).unwrap() != request {}
    }
}

impl Drop for BackEnd {
    fn drop(&mut self) {
        self.kill();
        if let Some(handle) = self.handle.take() {
            let _ = handle.join();
        }
    }
}

#[derive(Default)]
struct Vring {
    size: u16,
    /// Descriptors, used and available ring, where the front end has them mapped.
    places: [u64; 3],
    kick: Option<File>,
    call: Option<File>,
    ring: Option<Queue>,
}

struct Served {
    socket: UnixStream,
    fault: Fault,
    tell: Sender<u32>,
    /// For each region: where the front end has it, its address in the guest, and its size.
    table: Vec<(u64, u64, u64)>,
    memory: Option<GuestMemoryMmap>,
    vrings: BTreeMap<u32, Vring>,
}

fn word(body: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(body[at..at + 8].try_into().unwrap())
}

fn half(body: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(body[at..at + 4].try_into().unwrap())
}

impl Served {
    fn new(socket: UnixStream, fault: Fault, tell: Sender<u32>) -> Served {
        let (table, vrings) = (Vec::new(), BTreeMap::new());
        Served { socket, fault, tell, table, memory: None, vrings }
    }

    /// Until its peer has gone.
    fn run(mut self) {
        loop {
            let mut wait = vec![nix::poll::PollFd::new(
                std::os::fd::AsFd::as_fd(&self.socket),
                nix::poll::PollFlags::POLLIN,
            )];
            let kicks: Vec<u32> = self.running().collect();
            for index in &kicks {
                let kick = self.vrings[index].kick.as_ref().unwrap();
                wait.push(nix::poll::PollFd::new(
                    std::os::fd::AsFd::as_fd(kick),
                    nix::poll::PollFlags::POLLIN,
                ));
            }
            nix::poll::poll(&mut wait, nix::poll::PollTimeout::NONE).unwrap();
            let ready: Vec<bool> = wait.iter().map(|fd| fd.any() == Some(true)).collect();
            drop(wait);
            for (index, _) in kicks.iter().zip(&ready[1..]).filter(|(_, ready)| **ready) {
                self.serve(*index);
            }
            if ready[0] && self.message().is_none() {
                // There is a second descriptor for it.
                let _ = self.socket.shutdown(std::net::Shutdown::Both);
                return;
            }
        }
    }

    fn running(&self) -> impl Iterator<Item = u32> {
        let running = self.vrings.iter().filter(|(_, vring)| vring.ring.is_some());
        running.map(|(index, _)| *index)
    }

    /// Takes one message; `None`: there are no more.
    fn message(&mut self) -> Option<()> {
        let mut header = [0; 12];
        let mut space = nix::cmsg_space!([RawFd; 8]);
        let (size, mut files) = {
            let mut data = [IoSliceMut::new(&mut header)];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            let fd = self.socket.as_raw_fd();
            let message = recvmsg::<()>(fd, &mut data, Some(&mut space), flags).ok()?;
            let mut files = Vec::new();
            for part in message.cmsgs().unwrap() {
                if let ControlMessageOwned::ScmRights(fds) = part {
                    // SAFETY: the kernel has just installed them for this message.
                    files.extend(
                        fds.iter().map(|fd| File::from(unsafe { OwnedFd::from_raw_fd(*fd) })),
                    );
                }
            }
            (message.bytes, files)
        };
        if size < header.len() {
            return None;
        }
        let (request, flags) = (half(&header, 0), half(&header, 4));
        let mut body = vec![0; half(&header, 8) as usize];
        self.socket.read_exact(&mut body).ok()?;
        let _ = self.tell.send(request);
        match self.fault {
            Fault::Dies(at) if at == request => return None,
            Fault::IsSilent(at) if at == request => return Some(()),
            Fault::TalksNonsense(at) if at == request => {
                return self.socket.write_all(&[0xFF; 40]).ok();
            }
            _ => {}
        }
        let answer = self.obey(request, &body, &mut files);
        match answer {
            Some(answer) => self.reply(request, &answer),
            None if flags & NEED_REPLY != 0 => {
                let refused = u64::from(self.fault == Fault::Refuses(request));
                self.reply(request, &refused.to_le_bytes())
            }
            None => Some(()),
        }
    }

    fn reply(&mut self, request: u32, body: &[u8]) -> Option<()> {
        let size = u32::try_from(body.len()).unwrap();
        let header = [request, 1 | REPLY, size].map(u32::to_le_bytes);
        let mut message = header.as_flattened().to_vec();
        message.extend(body);
        self.socket.write_all(&message).ok()
    }

    /// Does what is asked; returns an answer where the request has one.
    fn obey(&mut self, request: u32, body: &[u8], files: &mut Vec<File>) -> Option<Vec<u8>> {
        match request {
            GET_FEATURES if self.fault == Fault::LacksFeatures => {
                return Some((FEATURES & !(1 << 29)).to_le_bytes().to_vec());
            }
            GET_FEATURES => return Some(FEATURES.to_le_bytes().to_vec()),
            GET_PROTOCOL_FEATURES => return Some((REPLY_ACK | 1).to_le_bytes().to_vec()),
            SET_MEM_TABLE => self.map(body, files),
            GET_VRING_BASE => {
                let index = half(body, 0);
                let vring = self.vrings.remove(&index).unwrap_or_default();
                let next = vring.ring.map_or(0, |ring| ring.next_avail());
                return Some([index.to_le_bytes(), u32::from(next).to_le_bytes()].concat());
            }
            SET_VRING_NUM => {
                self.vring(body).size = u16::try_from(half(body, 4)).unwrap();
            }
            SET_VRING_ADDR => {
                self.vring(body).places = [8, 16, 24].map(|at| word(body, at));
            }
            SET_VRING_KICK => self.vring(body).kick = files.pop(),
            SET_VRING_CALL => self.vring(body).call = files.pop(),
            SET_VRING_ENABLE => self.begin(half(body, 0)),
            _ => {}
        }
        None
    }

    fn vring(&mut self, body: &[u8]) -> &mut Vring {
        self.vrings.entry(half(body, 0) & 0xFF).or_default()
    }

    fn map(&mut self, body: &[u8], files: &mut Vec<File>) {
        self.table.clear();
        let mut ranges = Vec::new();
        for (number, file) in files.drain(..).enumerate() {
            let at = 8 + 32 * number;
            let [gpa, size, address, offset] = [0, 8, 16, 24].map(|field| word(body, at + field));
            self.table.push((address, gpa, size));
            let place = FileOffset::new(file, offset);
            ranges.push((GuestAddress(gpa), usize::try_from(size).unwrap(), Some(place)));
        }
        self.memory = Some(GuestMemoryMmap::from_ranges_with_files(ranges).unwrap());
    }

    fn begin(&mut self, index: u32) {
        let table = self.table.clone();
        let gpa = |address: u64| {
            let inside =
                |(start, _, size): &&(u64, u64, u64)| (*start..start + size).contains(&address);
            let (start, gpa, _) = table.iter().find(inside).unwrap();
            GuestAddress(address - start + gpa)
        };
        let vring = self.vrings.get_mut(&index).unwrap();
        let mut ring = Queue::new(1024).unwrap();
        ring.try_set_size(vring.size).unwrap();
        let [descriptors, used, available] = vring.places.map(gpa);
        ring.try_set_desc_table_address(descriptors).unwrap();
        ring.try_set_used_ring_address(used).unwrap();
        ring.try_set_avail_ring_address(available).unwrap();
        ring.set_ready(true);
        vring.ring = Some(ring);
    }

    fn serve(&mut self, index: u32) {
        let (memory, vring) = (self.memory.as_ref().unwrap(), self.vrings.get_mut(&index).unwrap());
        let _ = vring.kick.as_ref().unwrap().read(&mut [0; 8]);
        let ring = vring.ring.as_mut().unwrap();
        while let Some(chain) = ring.pop_descriptor_chain(memory) {
            let head = chain.head_index();
            if self.fault == Fault::NeverServes {
                continue;
            }
            if let Some(buffer) = chain.writable().next() {
                memory.write_slice(ANSWER, buffer.addr()).unwrap();
            }
            ring.add_used(memory, head, u32::try_from(ANSWER.len()).unwrap()).unwrap();
            vring.call.as_ref().unwrap().write_all(&1_u64.to_ne_bytes()).unwrap();
        }
    }
}
