//! One connection: a Unix socket on the host, a stream of packets to the guest.
//!
//! What comes from the guest goes to the socket at once, and waits here only as far as the socket's
//! buffer is full, bounded by credit. What goes to the guest stays in the socket until the guest has
//! both a buffer and room for it.

use std::collections::VecDeque;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{MsgFlags, recv, send};

use super::credit::Credit;
use super::packet::{Header, SHUTDOWN_BOTH, SHUTDOWN_RECEIVE, SHUTDOWN_SEND, TYPE_STREAM, op};

/// The longest command: "CONNECT 4294967295\r\n" and some blanks.
const LONGEST_COMMAND: usize = 32;

/// The two ports of a connection. There is no other with the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Ports {
    pub(super) host: u32,
    pub(super) guest: u32,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// A program on the host has connected and is to say to what.
    Command,
    /// The guest was asked. The program on the host gets an "OK" unless it was handed over.
    Requested { say_ok: bool },
    /// Both sides agreed.
    Open,
    /// The guest has closed; what it has sent before is still to be taken.
    Lingering,
}

/// What a program on the host says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing yet, or half a line.
    Nothing,
    /// Connect me to this port of the guest.
    Connect(u32),
    /// Something else, or it has gone.
    Nonsense,
}

/// A connection.
pub(super) struct Connection {
    stream: UnixStream,
    pub(super) ports: Ports,
    pub(super) stage: Stage,
    pub(super) credit: Credit,
    /// What the guest has sent and the socket has no room for.
    backlog: VecDeque<u8>,
    /// There may be something to read.
    readable: bool,
    /// All was read.
    at_end: bool,
    /// The program on the host has closed.
    hung_up: bool,
    /// It takes nothing any more.
    broken: bool,
    /// Packets without data that the guest is to get, one bit an operation.
    due: u16,
    /// What the guest was told that the host no longer does.
    told: u32,
    /// What the guest no longer does.
    guest_ended: u32,
    /// The guest was asked for room since it last said something.
    asked: bool,
    /// It waits in line for a buffer of the guest.
    pub(super) queued: bool,
}

impl Connection {
    pub(super) fn new(stream: UnixStream, ports: Ports, stage: Stage) -> Connection {
        Connection {
            stream,
            ports,
            stage,
            credit: Credit::default(),
            backlog: VecDeque::new(),
            readable: true,
            at_end: false,
            hung_up: false,
            broken: false,
            due: 0,
            told: 0,
            guest_ended: 0,
            asked: false,
            queued: false,
        }
    }

    /// The program on the host has closed before the guest has answered.
    pub(super) fn is_given_up(&self) -> bool {
        self.hung_up && matches!(self.stage, Stage::Requested { .. })
    }

    /// Puts a packet without data in line.
    pub(super) fn owe(&mut self, op: u16) {
        self.due |= 1 << op;
    }

    /// The socket is ready for these.
    pub(super) fn host_event(&mut self, events: EpollFlags) {
        let to_read = EpollFlags::EPOLLIN
            | EpollFlags::EPOLLRDHUP
            | EpollFlags::EPOLLHUP
            | EpollFlags::EPOLLERR;
        self.readable |= events.intersects(to_read);
        self.hung_up |= events.contains(EpollFlags::EPOLLHUP);
        if self.stage != Stage::Command {
            self.flush();
        }
    }

    /// What a program on the host that has connected says. What it says after that stays unread.
    pub(super) fn command(&mut self) -> Said {
        let mut buffer = [0; LONGEST_COMMAND];
        let flags = MsgFlags::MSG_DONTWAIT;
        let there = match recv(self.stream.as_raw_fd(), &mut buffer, flags | MsgFlags::MSG_PEEK) {
            Ok(0) => return Said::Nonsense,
            Ok(there) => buffer.get(..there).unwrap_or_default(),
            Err(Errno::EAGAIN | Errno::EINTR) => return Said::Nothing,
            Err(_) => return Said::Nonsense,
        };
        let Some(end) = there.iter().position(|byte| *byte == b'\n') else {
            return if there.len() < LONGEST_COMMAND { Said::Nothing } else { Said::Nonsense };
        };
        let port = there.get(..end).and_then(|line| std::str::from_utf8(line).ok());
        let port = port.and_then(|line| line.strip_prefix("CONNECT ")?.trim().parse().ok());
        let taken =
            recv(self.stream.as_raw_fd(), buffer.get_mut(..=end).unwrap_or_default(), flags);
        match port {
            Some(port) if taken == Ok(end + 1) => Said::Connect(port),
            _ => Said::Nonsense,
        }
    }

    /// The guest has accepted.
    pub(super) fn accepted(&mut self) {
        if self.stage == (Stage::Requested { say_ok: true }) {
            let line = format!("OK {}\n", self.ports.host);
            // The first that is written: there is room, or nobody who reads.
            self.broken |= write(&self.stream, line.as_bytes()) != Some(line.len());
        }
        self.stage = Stage::Open;
    }

    /// Takes data of the guest; `false` where it must not send it.
    #[must_use]
    pub(super) fn take(&mut self, data: &[u8]) -> bool {
        let Ok(len) = u32::try_from(data.len()) else { return false };
        if self.stage != Stage::Open
            || self.guest_ended & SHUTDOWN_SEND != 0
            || !self.credit.receive(len)
        {
            return false;
        }
        if self.backlog.is_empty() && !self.broken {
            match write(&self.stream, data) {
                Some(written) => {
                    self.backlog.extend(data.get(written..).unwrap_or_default());
                    self.after_writing(written);
                }
                None => self.broken = true,
            }
        } else if !self.broken {
            self.backlog.extend(data);
        }
        true
    }

    /// The guest no longer does this. `true`: that is all, and the guest is done with it.
    pub(super) fn guest_ends(&mut self, flags: u32) -> bool {
        self.guest_ended |= flags & SHUTDOWN_BOTH;
        if self.guest_ended & SHUTDOWN_RECEIVE != 0 && !self.at_end {
            self.at_end = true;
            // The program on the host learns of it when it writes. It may have closed before.
            let _ = self.stream.shutdown(Shutdown::Read);
        }
        self.after_writing(0);
        self.guest_ended == SHUTDOWN_BOTH
    }

    /// Whether the socket has all that the guest has sent, or takes none of it.
    pub(super) fn is_flushed(&self) -> bool {
        self.backlog.is_empty()
    }

    /// The guest has said something about its room.
    pub(super) fn heard(&mut self, header: &Header) {
        self.credit.hear(header.buf_alloc, header.fwd_cnt);
        // Else a guest that has no room would be asked again and again.
        self.asked &= self.credit.allowance() == 0;
    }

    /// Whether there is a packet for the guest, as far as is known without looking.
    pub(super) fn has_packet(&self) -> bool {
        let data = self.reads() && (self.credit.allowance() > 0 || !self.asked);
        self.due != 0 || data || self.stage == Stage::Open && self.ended() != self.told
    }

    /// The next packet for the guest, with its data in `data`. `None`: none after all.
    pub(super) fn packet(&mut self, data: &mut [u8]) -> Option<Header> {
        for op in [op::REQUEST, op::RESPONSE] {
            if self.due & 1 << op != 0 {
                self.due &= !(1 << op);
                return Some(self.header(op, 0, 0));
            }
        }
        if self.reads() {
            let allowed = usize::try_from(self.credit.allowance()).unwrap_or(usize::MAX);
            let most = data.len().min(allowed);
            if most == 0 {
                self.asked = true;
                return Some(self.header(op::CREDIT_REQUEST, 0, 0));
            }
            let len = self.read(data.get_mut(..most).unwrap_or_default());
            if len > 0 {
                self.credit.sent(len);
                return Some(self.header(op::RW, len, 0));
            }
        }
        if self.stage == Stage::Open && self.ended() != self.told {
            self.told = self.ended();
            return Some(self.header(op::SHUTDOWN, 0, self.told));
        }
        if self.due & 1 << op::CREDIT_UPDATE != 0 {
            return Some(self.header(op::CREDIT_UPDATE, 0, 0));
        }
        None
    }

    fn header(&mut self, op: u16, len: u32, flags: u32) -> Header {
        // Each packet says how much room there is.
        self.due &= !(1 << op::CREDIT_UPDATE);
        let (buf_alloc, fwd_cnt) = self.credit.tell();
        let Ports { host: src_port, guest: dst_port } = self.ports;
        let socket_type = TYPE_STREAM;
        let header = Header { src_port, dst_port, len, socket_type, op, ..Header::default() };
        Header { flags, buf_alloc, fwd_cnt, ..header }
    }

    fn reads(&self) -> bool {
        self.stage == Stage::Open && self.readable && !self.at_end
    }

    fn ended(&self) -> u32 {
        let sends_nothing = if self.at_end { SHUTDOWN_SEND } else { 0 };
        let takes_nothing = self.broken || self.at_end && self.hung_up;
        sends_nothing | if takes_nothing { SHUTDOWN_RECEIVE } else { 0 }
    }

    fn read(&mut self, data: &mut [u8]) -> u32 {
        match recv(self.stream.as_raw_fd(), data, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => self.at_end = true,
            Ok(len) => return u32::try_from(len).unwrap_or(0),
            Err(Errno::EAGAIN) => self.readable = false,
            Err(Errno::EINTR) => {}
            // The program on the host has closed without reading all.
            Err(_) => (self.at_end, self.broken) = (true, true),
        }
        0
    }

    fn flush(&mut self) {
        let mut written = 0;
        while !self.backlog.is_empty() && !self.broken {
            let (front, _) = self.backlog.as_slices();
            match write(&self.stream, front) {
                Some(0) => break,
                Some(now) => {
                    self.backlog.drain(..now);
                    written += now;
                }
                None => self.broken = true,
            }
        }
        self.after_writing(written);
    }

    fn after_writing(&mut self, written: usize) {
        if self.broken {
            // Nobody will ever take it.
            self.backlog.clear();
        }
        // A backlog is bounded, and so is what leaves it at once.
        self.credit.forward(u32::try_from(written).unwrap_or(0));
        if self.credit.is_worth_telling() && self.stage == Stage::Open {
            self.owe(op::CREDIT_UPDATE);
        }
        if self.backlog.is_empty() {
            self.backlog.shrink_to(0);
            if self.guest_ended & SHUTDOWN_SEND != 0 {
                // The program on the host may have closed before.
                let _ = self.stream.shutdown(Shutdown::Write);
            }
        }
    }
}

/// Writes what the socket has room for; `None` where it takes nothing any more.
fn write(stream: &UnixStream, data: &[u8]) -> Option<usize> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    loop {
        match send(stream.as_raw_fd(), data, flags) {
            Ok(written) => return Some(written),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Some(0),
            Err(_) => return None,
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
