//! Frames on a Unix stream socket, each after its length in four bytes, big-endian: what passt
//! speaks. It knows no offloads.
//!
//! A frame may be sent or received in parts, from and into the guest's memory. When the device is
//! reset in between, the stream must not lose its step: the rest is sent as zeroes, or read and
//! thrown away.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::header::{Header, Offloads};
use super::link::{Link, MAX_FRAME, Received, total};
use crate::vm::devices::virtio::iovecs::IoVecs;

const PREFIX: usize = 4;

/// The socket, and how far it is.
pub struct Stream {
    socket: OwnedFd,
    iovecs: IoVecs,
    /// How much of the frame that is being sent has gone, its length included, and how much of an
    /// abandoned one has not.
    sent: usize,
    sending: usize,
    owed: usize,
    /// The length of the frame that is being received as far as it has come, and how much of the
    /// frame has, and how much is still to come of an abandoned one.
    prefix: [u8; PREFIX],
    prefix_have: usize,
    have: usize,
    discard: usize,
    waste: Vec<u8>,
}

impl Stream {
    /// On a connected socket.
    ///
    /// # Errors
    /// It is no file descriptor that can be told not to block.
    pub fn new(socket: OwnedFd) -> io::Result<Stream> {
        use nix::fcntl::{FcntlArg, OFlag, fcntl};
        fcntl(&socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Stream {
            socket,
            iovecs: IoVecs::default(),
            sent: 0,
            sending: 0,
            owed: 0,
            prefix: [0; PREFIX],
            prefix_have: 0,
            have: 0,
            discard: 0,
            waste: vec![0; 4096],
        })
    }

    /// Sends what was prepared; `None` where the socket takes nothing now.
    fn write(&mut self) -> io::Result<Option<usize>> {
        let iovecs = self.iovecs.rest();
        // SAFETY: all zeroes is a valid msghdr: no address, no control data.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = iovecs.as_ptr().cast_mut();
        message.msg_iovlen = iovecs.len();
        // SAFETY: the iovecs are guest memory that is mapped as long as the device, or lie in self;
        // the kernel only reads them.
        let sent = unsafe {
            libc::sendmsg(self.socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
        };
        finished(sent)
    }

    /// Receives into what was prepared; `None` where there is nothing now.
    fn read(&mut self) -> io::Result<Option<usize>> {
        let iovecs = self.iovecs.rest();
        let count = i32::try_from(iovecs.len()).unwrap_or(0);
        // SAFETY: the iovecs are guest memory that is mapped as long as the device, or lie in self;
        // the guest's memory may change at any time, and nothing else is borrowed meanwhile.
        let got = unsafe { libc::readv(self.socket.as_raw_fd(), iovecs.as_ptr(), count) };
        match finished(got)? {
            Some(0) => Err(io::ErrorKind::BrokenPipe.into()),
            got => Ok(got),
        }
    }

    /// Sends the zeroes that stand for the rest of an abandoned frame; whether all are sent.
    fn pay(&mut self) -> io::Result<bool> {
        while self.owed > 0 {
            self.iovecs.clear();
            let part = self.owed.min(self.waste.len());
            self.waste.fill(0);
            self.iovecs.add_own(self.waste.get_mut(..part).unwrap_or_default());
            let Some(sent) = self.write()? else { return Ok(false) };
            self.owed -= sent.min(self.owed);
        }
        Ok(true)
    }

    /// Reads away what is left of an abandoned frame; whether all is.
    fn skip(&mut self) -> io::Result<bool> {
        while self.discard > 0 {
            self.iovecs.clear();
            let part = self.discard.min(self.waste.len());
            self.iovecs.add_own(self.waste.get_mut(..part).unwrap_or_default());
            let Some(got) = self.read()? else { return Ok(false) };
            self.discard -= got.min(self.discard);
        }
        Ok(true)
    }

    /// Gives up the frame that is being sent; what it still owes comes before the next one.
    fn owe(&mut self) {
        if self.sent > 0 {
            self.owed += self.sending - self.sent;
            self.sent = 0;
        }
    }

    /// The length of the next frame, once it is there.
    fn length(&mut self) -> io::Result<Option<usize>> {
        while self.prefix_have < PREFIX {
            self.iovecs.clear();
            self.iovecs.add_own(self.prefix.get_mut(self.prefix_have..).unwrap_or_default());
            let Some(got) = self.read()? else { return Ok(None) };
            self.prefix_have += got;
        }
        let length = usize::try_from(u32::from_be_bytes(self.prefix)).unwrap_or(usize::MAX);
        if length == 0 || length > MAX_FRAME {
            let what = format!("a frame of {length} bytes, which nobody sends");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(Some(length))
    }
}

/// What came of a system call.
fn finished(result: isize) -> io::Result<Option<usize>> {
    usize::try_from(result).map(Some).or_else(|_| {
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
            _ => Err(error),
        }
    })
}

impl Link for Stream {
    fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    fn offloads(&self) -> bool {
        false
    }

    fn start(&mut self, _driver: Offloads) -> io::Result<()> {
        Ok(())
    }

    fn send(&mut self, _header: &Header, frame: &[libc::iovec]) -> io::Result<bool> {
        if !self.pay()? {
            return Ok(false);
        }
        let length = total(frame);
        let mut prefix = u32::try_from(length).unwrap_or(0).to_be_bytes();
        self.sending = PREFIX + length;
        while self.sent < self.sending {
            self.iovecs.clear();
            self.iovecs.add_own(prefix.get_mut(self.sent.min(PREFIX)..).unwrap_or_default());
            self.iovecs.extend(frame, self.sent.saturating_sub(PREFIX), length);
            match self.write() {
                Ok(Some(sent)) => self.sent += sent,
                Ok(None) => return Ok(false),
                Err(error) => {
                    self.owe();
                    return Err(error);
                }
            }
        }
        self.sent = 0;
        Ok(true)
    }

    fn receive(&mut self, header: &mut Header, room: &[libc::iovec]) -> io::Result<Received> {
        if !self.skip()? {
            return Ok(Received::Nothing);
        }
        let Some(length) = self.length()? else { return Ok(Received::Nothing) };
        if length > total(room) {
            (self.discard, self.prefix_have, self.have) = (length - self.have, 0, 0);
            return Ok(Received::TooLong);
        }
        let mut next = [0; PREFIX];
        while self.have < length {
            self.iovecs.clear();
            self.iovecs.extend(room, self.have, length - self.have);
            // The length of the frame after this one comes with it.
            self.iovecs.add_own(&mut next);
            let Some(got) = self.read()? else { return Ok(Received::Nothing) };
            self.have += got;
        }
        (self.prefix, self.prefix_have, self.have) = (next, self.have - length, 0);
        *header = Header::default();
        Ok(Received::Frame(length))
    }

    fn stop(&mut self) {
        self.owe();
        if self.prefix_have == PREFIX {
            let length = usize::try_from(u32::from_be_bytes(self.prefix)).unwrap_or(0);
            self.discard += length.saturating_sub(self.have);
            (self.prefix_have, self.have) = (0, 0);
        }
    }
}
