//! Which packet belongs to which connection, and which connection's turn it is. Knows packets and
//! sockets, and nothing of queues.
//!
//! Bounded whatever the guest does: so many connections, so many answers to packets that belong to
//! none, and for each connection so much data as [`super::credit`] allows.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use vmm_sys_util::eventfd::EventFd;

use super::connection::{Connection, Ports, Said, Stage};
use super::front::Front;
use super::packet::{HEADER, HOST_CID, Header, SHUTDOWN_BOTH, TYPE_STREAM, op};

/// The most connections at a time, those included that a program on the host has only begun.
pub const MAX_CONNECTIONS: usize = 256;
/// The most refusals that wait for a buffer. Then the guest is not listened to until it has some.
const MAX_RESETS: usize = 256;
/// The host's own ports start here: below are those that programs listen at.
const FIRST_PORT: u32 = 1 << 30;
/// How many sockets are looked at in one go.
const EVENTS: usize = 64;

const LISTENER: u64 = u64::MAX;
const BELL: u64 = u64::MAX - 1;

/// A program connects: told once, so that one that cannot be accepted is not told of for ever.
fn knocking() -> EpollEvent {
    EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, LISTENER)
}

/// The eventfd of [`Front`], as epoll wants it.
struct Bell<'a>(&'a EventFd);

impl AsFd for Bell<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the eventfd is open for as long as it is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) }
    }
}

/// All connections of a device.
pub struct Switch {
    guest_cid: u64,
    front: Arc<Front>,
    epoll: Epoll,
    slots: Vec<Option<Connection>>,
    by_ports: HashMap<Ports, usize>,
    /// Connections that may have a packet for the guest, each once.
    ready: VecDeque<usize>,
    /// Refusals, which go first.
    resets: VecDeque<Header>,
    next_port: u32,
    /// A program waits for a descriptor to become free.
    is_kept_waiting: bool,
}

impl Switch {
    /// A switch without connections.
    ///
    /// # Errors
    /// No file descriptor left.
    pub fn new(guest_cid: u64, front: Arc<Front>) -> io::Result<Switch> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        if let Some(listener) = front.listener() {
            epoll.add(listener, knocking())?;
        }
        epoll.add(Bell(front.bell()), EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
        Ok(Switch {
            guest_cid,
            front,
            epoll,
            slots: Vec::new(),
            by_ports: HashMap::new(),
            ready: VecDeque::new(),
            resets: VecDeque::new(),
            next_port: FIRST_PORT,
            is_kept_waiting: false,
        })
    }

    /// Whether it can take a packet of the guest: there is room for a refusal.
    pub fn is_listening(&self) -> bool {
        self.resets.len() < MAX_RESETS
    }

    /// Whether there may be a packet for the guest.
    pub fn has_packet(&self) -> bool {
        !self.resets.is_empty() || !self.ready.is_empty()
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    /// Puts the next packet for the guest into `packet`, which has room for more than a header;
    /// returns its length.
    pub fn next(&mut self, packet: &mut [u8]) -> Option<usize> {
        let (head, data) = packet.split_first_chunk_mut::<HEADER>()?;
        if let Some(header) = self.resets.pop_front() {
            *head = header.to_bytes();
            return Some(HEADER);
        }
        while let Some(slot) = self.ready.pop_front() {
            let Some(connection) = self.slots.get_mut(slot).and_then(Option::as_mut) else {
                continue;
            };
            connection.queued = false;
            let header = connection.packet(data);
            self.settle(slot);
            if let Some(header) = header {
                let header = Header { src_cid: HOST_CID, dst_cid: self.guest_cid, ..header };
                *head = header.to_bytes();
                let data = usize::try_from(header.len).unwrap_or(0);
                return Some(HEADER + data);
            }
        }
        None
    }

    /// Takes a packet of the guest.
    pub fn receive(&mut self, header: &Header, data: &[u8]) {
        // To or from somebody else: there is nobody else.
        if header.src_cid != self.guest_cid || header.dst_cid != HOST_CID {
            return;
        }
        let ports = Ports { host: header.dst_port, guest: header.src_port };
        if header.socket_type != TYPE_STREAM {
            return self.refuse(header);
        }
        let Some(slot) = self.by_ports.get(&ports).copied() else {
            return match header.op {
                op::REQUEST => self.requested(ports, header),
                op::RST => {}
                _ => self.refuse(header),
            };
        };
        let Some(connection) = self.slots.get_mut(slot).and_then(Option::as_mut) else { return };
        connection.heard(header);
        let open = connection.stage == Stage::Open;
        let asked = matches!(connection.stage, Stage::Requested { .. });
        let fine = match header.op {
            op::RESPONSE if asked => {
                connection.accepted();
                true
            }
            op::RW if open => connection.take(data),
            op::CREDIT_UPDATE if open => true,
            op::CREDIT_REQUEST if open => {
                connection.owe(op::CREDIT_UPDATE);
                true
            }
            op::SHUTDOWN if open => {
                if connection.guest_ends(header.flags) {
                    // It waits for the answer before it uses the ports again.
                    self.let_go(slot);
                    return self.refuse(header);
                }
                true
            }
            op::RST => {
                // It is in no doubt of it: what was sent before still arrives.
                connection.guest_ends(SHUTDOWN_BOTH);
                return self.let_go(slot);
            }
            _ => false,
        };
        if fine {
            self.settle(slot);
        } else {
            self.close(slot);
            self.refuse(header);
        }
    }

    /// Looks at sockets that are ready.
    pub fn host_events(&mut self) {
        let mut events = [EpollEvent::empty(); EVENTS];
        let ready = self.epoll.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
        for event in events.iter().take(ready) {
            match event.data() {
                LISTENER => self.accept(),
                BELL => self.calls(),
                slot => {
                    self.host_event(usize::try_from(slot).unwrap_or(usize::MAX), event.events())
                }
            }
        }
    }

    fn host_event(&mut self, slot: usize, events: EpollFlags) {
        let Some(connection) = self.slots.get_mut(slot).and_then(Option::as_mut) else { return };
        connection.host_event(events);
        if connection.stage == Stage::Command {
            match connection.command() {
                Said::Nothing => {}
                Said::Nonsense => self.close(slot),
                Said::Connect(port) => self.request(slot, port, true),
            }
        } else if connection.is_given_up() {
            self.close(slot);
        }
        self.settle(slot);
    }

    /// One at a time: without a free descriptor accept(2) fails whether or not a program waits.
    fn accept(&mut self) {
        let Some(listener) = self.front.listener() else { return };
        match listener.accept() {
            Ok(Some(stream)) => {
                if self.insert(stream, Ports::default(), Stage::Command).is_none() {
                    log::warn!("vsock: no more than {MAX_CONNECTIONS} connections at a time");
                }
                self.look_for_more();
            }
            Ok(None) => {}
            Err(error) => {
                self.is_kept_waiting = true;
                log::warn!("vsock: a program's connection has to wait: {error}");
            }
        }
    }

    /// Has the listener told of again, if a program waits there (epoll_ctl(2), EPOLL_CTL_MOD).
    fn look_for_more(&mut self) {
        if let Some(listener) = self.front.listener()
            && let Err(error) = self.epoll.modify(listener, &mut knocking())
        {
            log::warn!("vsock: programs may have to connect twice: {error}");
        }
    }

    fn calls(&mut self) {
        let _ = self.front.bell().read();
        while let Some((port, stream)) = self.front.next_call() {
            let stage = Stage::Requested { say_ok: false };
            if let Some(slot) = self.insert(stream, Ports::default(), stage) {
                self.request(slot, port, false);
                self.settle(slot);
            }
        }
    }

    /// Asks the guest for a connection to `port`.
    fn request(&mut self, slot: usize, port: u32, say_ok: bool) {
        let ports = Ports { host: self.free_port(port), guest: port };
        if let Some(connection) = self.slots.get_mut(slot).and_then(Option::as_mut) {
            connection.ports = ports;
            connection.stage = Stage::Requested { say_ok };
            connection.owe(op::REQUEST);
            self.by_ports.insert(ports, slot);
        }
    }

    fn free_port(&mut self, guest: u32) -> u32 {
        // Far fewer connections than ports: it ends.
        loop {
            let host = self.next_port;
            self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
            if !self.by_ports.contains_key(&Ports { host, guest }) {
                return host;
            }
        }
    }

    /// The guest asks for a connection.
    fn requested(&mut self, ports: Ports, header: &Header) {
        let answer = if self.slots.iter().flatten().count() < MAX_CONNECTIONS {
            self.front.answer(ports.host)
        } else {
            Err(io::Error::other("too many connections"))
        };
        let slot = answer.and_then(|stream| {
            self.insert(stream, ports, Stage::Open).ok_or(io::ErrorKind::OutOfMemory.into())
        });
        match slot {
            Ok(slot) => {
                if let Some(connection) = self.slots.get_mut(slot).and_then(Option::as_mut) {
                    connection.heard(header);
                    connection.owe(op::RESPONSE);
                }
                self.by_ports.insert(ports, slot);
                self.settle(slot);
            }
            Err(error) => {
                log::debug!("vsock: port {} is refused: {error}", ports.host);
                self.refuse(header);
            }
        }
    }

    /// Answers a packet by RST.
    fn refuse(&mut self, header: &Header) {
        self.resets.push_back(Header {
            src_cid: HOST_CID,
            dst_cid: self.guest_cid,
            src_port: header.dst_port,
            dst_port: header.src_port,
            socket_type: header.socket_type,
            op: op::RST,
            ..Header::default()
        });
    }

    /// `None`: there are too many, or the host is out of memory; the socket is closed.
    fn insert(&mut self, stream: UnixStream, ports: Ports, stage: Stage) -> Option<usize> {
        let slot = match self.slots.iter().position(Option::is_none) {
            Some(slot) => slot,
            None if self.slots.len() < MAX_CONNECTIONS => {
                self.slots.push(None);
                self.slots.len() - 1
            }
            None => return None,
        };
        let events = EpollFlags::EPOLLIN
            | EpollFlags::EPOLLOUT
            | EpollFlags::EPOLLRDHUP
            | EpollFlags::EPOLLET;
        self.epoll.add(&stream, EpollEvent::new(events, slot as u64)).ok()?;
        *self.slots.get_mut(slot)? = Some(Connection::new(stream, ports, stage));
        Some(slot)
    }

    /// The guest is done with a connection; the program on the host may not be.
    fn let_go(&mut self, slot: usize) {
        if let Some(connection) = self.slots.get_mut(slot).and_then(Option::as_mut) {
            self.by_ports.remove(&connection.ports);
            connection.stage = Stage::Lingering;
            self.settle(slot);
        }
    }

    /// After something has happened to a connection: puts it in line, or away.
    fn settle(&mut self, slot: usize) {
        let Some(connection) = self.slots.get_mut(slot).and_then(Option::as_mut) else { return };
        if connection.stage == Stage::Lingering {
            if connection.is_flushed() {
                self.close(slot);
            }
        } else if connection.has_packet() && !connection.queued {
            connection.queued = true;
            self.ready.push_back(slot);
        }
    }

    fn close(&mut self, slot: usize) {
        let Some(connection) = self.slots.get_mut(slot).and_then(Option::take) else { return };
        if self.by_ports.get(&connection.ports) == Some(&slot) {
            self.by_ports.remove(&connection.ports);
        }
        // A socket that was handed over may be open elsewhere, and would go on to be watched.
        let _ = self.epoll.delete(&connection);
        self.ready.retain(|ready| *ready != slot);
        // Its descriptor is what a program may be waiting for.
        drop(connection);
        if mem::take(&mut self.is_kept_waiting) {
            self.look_for_more();
        }
    }
}

impl AsRawFd for Switch {
    /// Readable when sockets are ready.
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.0.as_raw_fd()
    }
}
