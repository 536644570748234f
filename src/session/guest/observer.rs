//! Who watches a command's life.

use std::os::fd::BorrowedFd;

/// Is told when something happens to the command.
pub(crate) trait Observer {
    /// It is about to be started.
    fn starts(&mut self) {}

    /// It has written this to standard output.
    fn wrote(&mut self, _bytes: &[u8]) {}

    /// It has ended.
    fn ended(&mut self) {}

    /// How much output shall be kept, up to this many bytes, before any is sent, for the sending
    /// would disturb what is observed.
    fn held_limit(&self) -> Option<usize> {
        None
    }

    /// What else it waits for meanwhile: to be readable.
    fn interest(&mut self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// That is readable.
    fn ready(&mut self) {}
}

/// Nobody.
pub(crate) struct Unobserved;

impl Observer for Unobserved {}
