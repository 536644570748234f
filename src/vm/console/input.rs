//! The console's input: stdin, a backlog for what the guest has no room for yet, and the escape key.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::Line;
use crate::terminal::RawMode;

/// Ctrl-A, as in QEMU's and minicom's consoles.
const ESCAPE: u8 = 0x01;
/// The most typed or pasted input that waits for a guest that does not read, in bytes. Beyond that
/// the terminal is no longer read, and Ctrl-A x with it.
const BACKLOG_FROM_TERMINAL: usize = 1 << 20;
/// The same for a pipe or file, which can wait where it is.
const BACKLOG_FROM_PIPE: usize = 4 << 10;

const HELP: &str = "\r\n\
    Ctrl-A x        end the guest and duplex\r\n\
    Ctrl-A h        this help\r\n\
    Ctrl-A Ctrl-A   send Ctrl-A to the guest\r\n";

/// What a person at the terminal asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Nothing: everything typed is the guest's.
    Nothing,
    /// Ctrl-A x.
    Quit,
}

/// The console's input: stdin, with a backlog for what the guest has no room for yet.
pub struct Input {
    file: File,
    /// Set where stdin is a terminal.
    raw: Option<RawMode>,
    keys: Keys,
    backlog: VecDeque<u8>,
    ended: bool,
    pollable: bool,
}

impl Input {
    pub(super) fn new(fd: OwnedFd) -> io::Result<Input> {
        let raw = RawMode::enter(&fd)?;
        let file = File::from(fd);
        // epoll refuses what is always ready: files, directories, /dev/null.
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let pollable = epoll.add(&file, EpollEvent::new(EpollFlags::EPOLLIN, 0)).is_ok();
        let (keys, backlog) = (Keys::default(), VecDeque::new());
        Ok(Input { file, raw, keys, backlog, ended: false, pollable })
    }

    /// Whether the event loop must wait for stdin to be readable before [`Input::read`].
    pub fn is_pollable(&self) -> bool {
        self.pollable
    }

    /// Whether more should be read now: there is more, the backlog has room, and the terminal is
    /// ours (reading one in the background would stop the process).
    pub fn wants_more(&self) -> bool {
        let ours = self.raw.as_ref().is_none_or(RawMode::is_active);
        let limit = if self.raw.is_some() { BACKLOG_FROM_TERMINAL } else { BACKLOG_FROM_PIPE };
        !self.ended && ours && self.backlog.len() < limit
    }

    /// Reads what is there into the backlog.
    pub fn read(&mut self) -> Asked {
        let mut buffer = [0; 4096];
        let read = match self.file.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Asked::Nothing,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Asked::Nothing,
            // A terminal that hung up, or a descriptor that cannot be read: as at its end.
            Err(_) => 0,
        };
        self.ended = read == 0;
        let bytes = buffer.get(..read).unwrap_or_default();
        if self.raw.is_none() {
            self.backlog.extend(bytes);
            return Asked::Nothing;
        }
        for byte in bytes {
            match self.keys.typed(*byte) {
                Key::Guest(bytes) => self.backlog.extend(bytes),
                Key::Held => {}
                Key::Help => {
                    let _ = io::stderr().write_all(HELP.as_bytes());
                }
                Key::Quit => return Asked::Quit,
            }
        }
        Asked::Nothing
    }

    /// Hands the guest as much of the backlog as it has room for.
    pub fn feed(&mut self, line: Line) {
        while !self.backlog.is_empty() {
            let (front, _) = self.backlog.as_slices();
            let taken = line.give(front, self.raw.is_some());
            if taken == 0 {
                break;
            }
            self.backlog.drain(..taken);
        }
    }

    /// Gives the terminal back, for a stop.
    pub fn suspend(&mut self) {
        self.with_terminal(RawMode::suspend);
    }

    /// Takes the terminal again, after a stop.
    pub fn resume(&mut self) {
        self.with_terminal(RawMode::resume);
    }

    fn with_terminal(&mut self, change: fn(&mut RawMode) -> io::Result<()>) {
        if let Some(Err(error)) = self.raw.as_mut().map(change) {
            log::debug!("console: the terminal's mode cannot be changed: {error}");
        }
    }
}

impl AsRawFd for Input {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

/// What a typed byte means.
#[derive(Debug, PartialEq, Eq)]
enum Key {
    Guest(Vec<u8>),
    Held,
    Help,
    Quit,
}

/// Finds the escape key among typed bytes.
#[derive(Default)]
struct Keys {
    escaped: bool,
}

impl Keys {
    fn typed(&mut self, byte: u8) -> Key {
        if !std::mem::replace(&mut self.escaped, false) {
            self.escaped = byte == ESCAPE;
            return if self.escaped { Key::Held } else { Key::Guest(vec![byte]) };
        }
        match byte {
            b'x' | b'X' => Key::Quit,
            b'h' | b'H' | b'?' => Key::Help,
            ESCAPE => Key::Guest(vec![ESCAPE]),
            // Not ours after all: nothing typed is lost.
            other => Key::Guest(vec![ESCAPE, other]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn type_all(bytes: &[u8]) -> Vec<Key> {
        let mut keys = Keys::default();
        bytes.iter().map(|byte| keys.typed(*byte)).filter(|key| *key != Key::Held).collect()
    }

    #[test]
    fn the_escape_key_leads_in_commands() {
        assert_eq!(type_all(b"\x01x"), [Key::Quit]);
        assert_eq!(type_all(b"\x01h"), [Key::Help]);
        assert_eq!(type_all(b"\x01\x01"), [Key::Guest(vec![1])]);
        assert_eq!(type_all(b"x"), [Key::Guest(b"x".to_vec())]);
    }

    #[test]
    fn only_what_may_have_to_be_waited_for_is() {
        let (pipe, _writer) = io::pipe().unwrap();
        assert!(Input::new(pipe.into()).unwrap().is_pollable());
        for always_ready in ["/dev/null", "/dev/zero", "/proc/self/exe"] {
            let file = File::open(always_ready).unwrap();
            assert!(!Input::new(file.into()).unwrap().is_pollable(), "{always_ready}");
        }
    }

    proptest! {
        #[test]
        fn nothing_typed_without_the_escape_key_is_changed(bytes in "[^\u{1}]*") {
            let mut through = Vec::new();
            for key in type_all(bytes.as_bytes()) {
                match key {
                    Key::Guest(bytes) => through.extend(bytes),
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            prop_assert_eq!(through, bytes.as_bytes());
        }
    }
}
