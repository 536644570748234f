//! hvc0 from the guest's side: output and input byte for byte, whatever the buffers and however slow the
//! other end.

use std::fs::File;
use std::io::{PipeReader, Read};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use duplex::terminal::WindowSize;
use duplex::vm::devices::MmioDevice;
use duplex::vm::devices::virtio::console::Console;
use duplex::vm::devices::virtio::console::port::Port;
use duplex::vm::devices::virtio::event_thread::EventThread;
use duplex::vm::output::Output;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::{AsRawFd, BorrowedFd};
use vm_memory::{Bytes, GuestAddress};

use crate::driver::{ARENA, Driver, MEMORY, NEEDS_RESET, WRITE, desc};

const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
const SOON: Duration = Duration::from_millis(100);

pub(crate) struct Guest {
    pub(crate) driver: Driver,
    pub(crate) port: Arc<Port>,
    pub(crate) screen: PipeReader,
}

impl Guest {
    pub(crate) fn new(size: Option<(u16, u16)>) -> Guest {
        let (screen, writer) = std::io::pipe().unwrap();
        let output = Output::new(File::from(OwnedFd::from(writer))).unwrap();
        let port = Arc::new(Port::new(output).unwrap());
        if let Some((columns, rows)) = size {
            port.set_size(window(columns, rows));
        }
        let thread = Arc::new(EventThread::start("test").unwrap());
        let device = Console::new(port.clone(), thread);
        Guest { driver: Driver::ready(Box::new(device), u64::MAX, 16), port, screen }
    }

    fn write(&mut self, gpa: u64, bytes: &[u8]) {
        self.driver.memory.write_slice(bytes, GuestAddress(gpa)).unwrap();
    }

    fn read(&self, gpa: u64, len: u32) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(len).unwrap()];
        self.driver.memory.read_slice(&mut bytes, GuestAddress(gpa)).unwrap();
        bytes
    }

    /// Prints, and waits until the buffer is back.
    pub(crate) fn print(&mut self, bytes: &[u8]) {
        self.write(ARENA, bytes);
        self.driver.send(TRANSMIT, 0, &[desc(ARENA, u32::try_from(bytes.len()).unwrap(), 0, 0)]);
        self.driver.wait_used(TRANSMIT);
    }

    pub(crate) fn sees(&mut self, bytes: &[u8]) {
        let mut seen = vec![0; bytes.len()];
        self.screen.read_exact(&mut seen).unwrap();
        assert!(seen == bytes, "{:?}…", String::from_utf8_lossy(&seen[..seen.len().min(40)]));
    }

    /// Types, waiting for room where there is none.
    fn type_in(&self, mut keys: &[u8]) {
        loop {
            keys = &keys[self.port.give(keys)..];
            if keys.is_empty() {
                return;
            }
            // SAFETY: the eventfd belongs to the port.
            let room = unsafe { BorrowedFd::borrow_raw(self.port.room().as_raw_fd()) };
            let mut wait = [PollFd::new(room, PollFlags::POLLIN)];
            assert_eq!(poll(&mut wait, PollTimeout::from(20_000_u16)), Ok(1), "no room");
            self.port.room().read().unwrap();
        }
    }
}

fn window(columns: u16, rows: u16) -> WindowSize {
    WindowSize { rows, columns, ..WindowSize::default() }
}

fn noise(len: usize) -> Vec<u8> {
    (0..u32::try_from(len).unwrap()).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[test]
fn output_arrives_whatever_its_buffers() {
    let mut guest = Guest::new(None);
    guest.print(b"hello ");
    guest.print(b"");
    guest.write(ARENA, b"worlds, three of them");
    let pieces = [desc(ARENA, 5, 0, 0), desc(ARENA + 5, 0, 0, 0), desc(ARENA + 5, 16, 0, 0)];
    guest.driver.send(TRANSMIT, 0, &pieces);
    assert_eq!(guest.driver.wait_used(TRANSMIT), (0, 0));
    guest.sees(b"hello worlds, three of them");
}

#[test]
fn a_buffer_larger_than_all_room_arrives_whole() {
    let mut guest = Guest::new(None);
    let much = noise(3 << 20);
    guest.write(ARENA, &much);
    guest.driver.send(TRANSMIT, 0, &[desc(ARENA, 3 << 20, 0, 0)]);
    // More than a pipe and the queue hold: it stays the device's until somebody reads.
    assert!(guest.driver.take_used(TRANSMIT).is_none());
    guest.sees(&much);
    guest.driver.wait_used(TRANSMIT);
}

#[test]
fn a_guest_that_prints_without_end_is_held_until_somebody_reads() {
    let mut guest = Guest::new(None);
    let line = noise(4096);
    guest.write(ARENA, &line);
    let mut sent = 0;
    loop {
        guest.driver.send(TRANSMIT, 0, &[desc(ARENA, 4096, 0, 0)]);
        sent += 1;
        guest.driver.arm(TRANSMIT);
        while guest.driver.take_used(TRANSMIT).is_none() {
            if guest.driver.interrupt_within(SOON).is_none() {
                break;
            }
        }
        if guest.driver.rings[TRANSMIT].last_used != guest.driver.rings[TRANSMIT].next_available {
            break;
        }
        assert!(sent < 1000, "nobody holds it");
    }
    for _ in 0..sent {
        guest.sees(&line);
    }
    guest.driver.wait_used(TRANSMIT);
}

#[test]
fn input_arrives_whatever_the_buffers_and_whenever_they_come() {
    let mut guest = Guest::new(None);
    let typed = noise(100_000);
    // Before there is any buffer.
    assert_eq!(guest.port.give(&typed), 4096);
    let mut came = Vec::new();
    let mut give = 4096;
    for len in [1_u32, 7, 300, 4096, 5000].into_iter().cycle() {
        guest.driver.send(
            RECEIVE,
            0,
            &[desc(ARENA, len / 2 + 1, WRITE, 0), desc(ARENA + 9000, len, WRITE, 0)],
        );
        let (_, written) = guest.driver.wait_used(RECEIVE);
        let first = written.min(len / 2 + 1);
        came.extend(guest.read(ARENA, first));
        came.extend(guest.read(ARENA + 9000, written - first));
        if came.len() == typed.len() {
            break;
        }
        give += guest.port.give(&typed[give..]);
    }
    assert!(came == typed);
}

#[test]
fn what_was_not_read_is_for_the_next_driver() {
    let mut guest = Guest::new(None);
    guest.type_in(b"later");
    guest.driver.start(u64::MAX, 16);
    guest.driver.send(RECEIVE, 0, &[desc(ARENA, 64, WRITE, 0)]);
    assert_eq!(guest.driver.wait_used(RECEIVE), (0, 5));
    assert_eq!(guest.read(ARENA, 5), b"later");
}

#[test]
fn the_window_has_a_size_and_changes_it() {
    let mut guest = Guest::new(Some((80, 24)));
    let config = |guest: &Guest| {
        let mut data = [0; 8];
        guest.driver.transport.read(0x100, &mut data);
        data
    };
    assert_eq!(guest.driver.features & 7, 1, "VIRTIO_CONSOLE_F_SIZE alone");
    assert_eq!(config(&guest), [80, 0, 24, 0, 0, 0, 0, 0]);
    guest.port.set_size(window(132, 50));
    assert_eq!(guest.driver.interrupt(), 2);
    assert_eq!(config(&guest), [132, 0, 50, 0, 0, 0, 0, 0]);
    // No change is no event, and the guest changes nothing.
    guest.port.set_size(window(132, 50));
    guest.driver.transport.write(0x100, &[1, 1, 1, 1]);
    assert!(guest.driver.interrupt_within(SOON).is_none());
    assert_eq!(config(&guest)[0], 132);
    assert_eq!(Guest::new(None).driver.features & 7, 0);
}

#[test]
fn buffers_that_are_none_hurt_nobody() {
    let mut guest = Guest::new(None);
    for buffer in [
        desc(MEMORY - 4, 8, 0, 0),
        desc(u64::MAX - 3, 4, 0, 0),
        desc(MEMORY, u32::MAX, 0, 0),
        desc(ARENA, 8, WRITE, 0),
    ] {
        guest.driver.send(TRANSMIT, 0, &[buffer]);
        assert_eq!(guest.driver.wait_used(TRANSMIT), (0, 0));
    }
    guest.type_in(b"not lost");
    for buffer in [
        desc(ARENA, 8, 0, 0),
        desc(ARENA, 0, WRITE, 0),
        desc(MEMORY - 4, 8, WRITE, 0),
        desc(u64::MAX - 3, 8, WRITE, 0),
    ] {
        guest.driver.send(RECEIVE, 0, &[buffer]);
        assert_eq!(guest.driver.wait_used(RECEIVE), (0, 0));
    }
    guest.driver.send(RECEIVE, 0, &[desc(ARENA, 64, WRITE, 0)]);
    assert_eq!(guest.driver.wait_used(RECEIVE), (0, 8));
    assert_eq!(guest.read(ARENA, 8), b"not lost");
    guest.print(b"still here");
    guest.sees(b"still here");
    assert_eq!(guest.driver.status() & NEEDS_RESET, 0);
}

#[test]
fn a_reset_in_the_middle_of_a_buffer_forgets_the_rest() {
    let mut guest = Guest::new(None);
    guest.driver.send(TRANSMIT, 0, &[desc(0, 32 << 20, 0, 0)]);
    guest.driver.start(u64::MAX, 16);
    // The screen may be full of what came before, so that this has to wait for the reader.
    guest.write(ARENA, b"\xFFafter");
    guest.driver.send(TRANSMIT, 0, &[desc(ARENA, 6, 0, 0)]);
    let mut seen = Vec::new();
    while !seen.ends_with(b"\xFFafter") {
        let mut byte = [0; 4096];
        let len = guest.screen.read(&mut byte).unwrap();
        seen.extend(&byte[..len]);
    }
    guest.driver.wait_used(TRANSMIT);
    assert!(seen.len() < 1 << 20, "{}", seen.len());
}
