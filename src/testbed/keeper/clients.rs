//! The keeper's clients: what each of them wants, and telling them things.

use std::os::fd::{AsFd, OwnedFd};

use crate::testbed::control::Channel;
use crate::testbed::protocol::{Answer, Export};

/// One connection.
pub(super) struct Client {
    pub(super) channel: Channel,
    pub(super) wish: Wish,
}

/// What a client is there for.
pub(super) enum Wish {
    /// Not said yet.
    Unknown,
    /// To be told when the testbed is up.
    Ready,
    /// It was told so; to be told when the testbed stops.
    News,
    /// A session, with these files; whether it was told that it has to wait for one.
    Session { files: Vec<(Export, OwnedFd)>, told: bool },
    /// It has one: the port, and the numbers of its exports.
    Running { port: usize, exports: Vec<u64> },
    /// It is waiting for us to end.
    End,
    /// It has its answer.
    Nothing,
}

impl Client {
    pub(super) fn new(channel: Channel) -> Self {
        Self { channel, wish: Wish::Unknown }
    }

    /// No session is free.
    pub(super) fn is_to_wait(&mut self) {
        self.tell(&Answer::Busy);
        if let Wish::Session { told, .. } = &mut self.wish {
            *told = true;
        }
    }

    /// Tells it something. One that does not listen is noticed when its connection closes.
    pub(super) fn tell(&self, answer: &Answer) {
        let _ = self.channel.send(answer, &[]);
    }

    /// Tells it something that comes with a descriptor.
    pub(super) fn hand_over(&self, answer: &Answer, fd: &OwnedFd) {
        let _ = self.channel.send(answer, &[fd.as_fd()]);
    }

    /// Whether it has a session on this port.
    pub(super) fn is_on(&self, number: usize) -> bool {
        matches!(self.wish, Wish::Running { port, .. } if port == number)
    }

    /// Whether it has a session.
    pub(super) fn is_running(&self) -> bool {
        matches!(self.wish, Wish::Running { .. })
    }

    /// Whether there is nothing more to do for it.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.wish, Wish::Nothing)
    }
}
