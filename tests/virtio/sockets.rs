//! The socket device: connections both ways, their ends, and what they carry.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use duplex::vm::devices::virtio::vsock::front::port_path;
use duplex::vm::devices::virtio::vsock::packet::{
    SHUTDOWN_BOTH, SHUTDOWN_RECEIVE, SHUTDOWN_SEND, op,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use crate::guest_sockets::Guest;

const SOON: Duration = Duration::from_millis(200);

fn noise(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect()
}

#[test]
fn a_guests_connection_leads_to_the_socket_of_its_port() {
    let mut guest = Guest::new();
    let listener = UnixListener::bind(port_path(&guest.path(), 80)).unwrap();
    guest.connect(1000, 80);
    let (mut program, _) = listener.accept().unwrap();
    guest.send_data(1000, 80, b"question");
    let mut question = [0; 8];
    program.read_exact(&mut question).unwrap();
    assert_eq!(&question, b"question");
    let answer = noise(10_000);
    program.write_all(&answer).unwrap();
    assert_eq!(guest.receive_data(answer.len()), answer);
    // The guest has said all, and still listens.
    guest.shut_down(1000, 80, SHUTDOWN_SEND);
    assert_eq!(program.read(&mut question).unwrap(), 0);
    program.write_all(b"bye").unwrap();
    drop(program);
    assert_eq!(guest.receive_data(3), b"bye");
    let mut told = 0;
    while told != SHUTDOWN_BOTH {
        let (end, _) = guest.receive_important();
        assert_eq!(end.op, op::SHUTDOWN);
        told |= end.flags;
    }
    guest.send(op::RST, 1000, 80);
    assert!(guest.receive_within(SOON).is_none());
}

#[test]
fn a_program_on_the_host_connects_by_a_command() {
    let mut guest = Guest::new();
    let mut program = UnixStream::connect(guest.path()).unwrap();
    // In pieces, with data right behind it.
    program.write_all(b"CONNECT 1").unwrap();
    assert!(guest.receive_within(SOON).is_none());
    program.write_all(b"234\nhello").unwrap();
    let (request, _) = guest.receive();
    assert_eq!((request.op, request.dst_port), (op::REQUEST, 1234));
    guest.send(op::RESPONSE, 1234, request.src_port);
    let mut program = BufReader::new(program);
    let mut line = String::new();
    program.read_line(&mut line).unwrap();
    assert_eq!(line, format!("OK {}\n", request.src_port));
    assert_eq!(guest.receive_data(5), b"hello");
    guest.send_data(1234, request.src_port, b"world");
    guest.shut_down(1234, request.src_port, SHUTDOWN_BOTH);
    assert_eq!(guest.receive_important().0.op, op::RST);
    let mut rest = String::new();
    program.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "world");
}

#[test]
fn a_program_that_is_refused_or_talks_nonsense_sees_the_end() {
    let mut guest = Guest::new();
    let mut program = UnixStream::connect(guest.path()).unwrap();
    program.write_all(b"CONNECT 5\n").unwrap();
    let (request, _) = guest.receive();
    guest.send(op::RST, 5, request.src_port);
    assert_eq!(program.read(&mut [0; 8]).unwrap(), 0);
    let nonsense: [&[u8]; 4] = [b"\n", b"CONNECT x\n", b"CONNECT 4294967296\n", &[b'C'; 40]];
    for nonsense in nonsense {
        let mut program = UnixStream::connect(guest.path()).unwrap();
        program.write_all(nonsense).unwrap();
        // Its end, or a reset of what was not read.
        assert!(matches!(program.read(&mut [0; 8]), Ok(0) | Err(_)));
    }
    assert!(guest.receive_within(SOON).is_none());
}

#[test]
fn a_program_that_leaves_before_the_guest_has_answered_leaves_nothing() {
    let mut guest = Guest::new();
    let mut program = UnixStream::connect(guest.path()).unwrap();
    program.write_all(b"CONNECT 5\n").unwrap();
    let (request, _) = guest.receive();
    drop(program);
    // Whichever is seen first.
    guest.send(op::RESPONSE, 5, request.src_port);
    let end = guest.receive_important().0;
    assert!(end.op == op::RST || end.op == op::SHUTDOWN && end.flags == SHUTDOWN_BOTH, "{end:?}");
}

#[test]
fn sockets_can_be_handed_over_without_a_path() {
    let mut guest = Guest::new();
    let (mut first, theirs) = UnixStream::pair().unwrap();
    guest.front.offer(7, theirs).unwrap();
    guest.connect(1, 7);
    guest.send_data(1, 7, b"one");
    let mut bytes = [0; 3];
    first.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"one");
    // It was the only one.
    guest.send(op::REQUEST, 2, 7);
    assert_eq!(guest.receive().0.op, op::RST);
    // And the other way.
    let (mut second, theirs) = UnixStream::pair().unwrap();
    guest.front.call(9, theirs).unwrap();
    let (request, _) = guest.receive();
    assert_eq!((request.op, request.dst_port), (op::REQUEST, 9));
    guest.send(op::RESPONSE, 9, request.src_port);
    second.write_all(b"two").unwrap();
    assert_eq!(guest.receive_data(3), b"two", "no OK comes before it");
}

#[test]
fn what_a_guest_has_sent_before_it_closes_arrives() {
    let mut guest = Guest::new();
    let listener = UnixListener::bind(port_path(&guest.path(), 80)).unwrap();
    guest.connect(1, 80);
    let (mut program, _) = listener.accept().unwrap();
    // More than the socket's buffer holds: some of it waits in the device.
    let data = noise(60_000);
    let mut sent = 0;
    for _ in 0..4 {
        guest.send_data(1, 80, &data);
        sent += data.len();
    }
    guest.shut_down(1, 80, SHUTDOWN_BOTH);
    assert_eq!(guest.receive_important().0.op, op::RST);
    // The ports are free again.
    guest.connect(1, 80);
    let mut all = Vec::new();
    program.read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), sent);
    assert!(all.chunks(data.len()).all(|chunk| chunk == data));
}

#[test]
fn a_guest_that_reads_no_more_is_not_written_to() {
    let mut guest = Guest::new();
    let listener = UnixListener::bind(port_path(&guest.path(), 80)).unwrap();
    guest.connect(1, 80);
    let (mut program, _) = listener.accept().unwrap();
    guest.shut_down(1, 80, SHUTDOWN_RECEIVE);
    // The write fails at last, as on any socket whose reader has gone.
    while program.write_all(&noise(1000)).is_ok() {}
    guest.send_data(1, 80, b"still");
    let mut bytes = [0; 5];
    program.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"still");
}

#[test]
fn a_reset_ends_all_connections_and_begins_anew() {
    let mut guest = Guest::new();
    let listener = UnixListener::bind(port_path(&guest.path(), 80)).unwrap();
    for _ in 0..3 {
        guest.connect(1, 80);
        let (mut program, _) = listener.accept().unwrap();
        guest.driver.start(u64::MAX, crate::guest_sockets::QUEUE);
        assert_eq!(program.read(&mut [0; 8]).unwrap(), 0);
        guest.post_all();
    }
}

#[test]
fn half_a_megabyte_goes_both_ways_at_once() {
    let mut guest = Guest::new();
    let listener = UnixListener::bind(port_path(&guest.path(), 80)).unwrap();
    guest.connect(1, 80);
    let (program, _) = listener.accept().unwrap();
    let echo = std::thread::spawn(move || {
        let (mut from, mut to) = (program.try_clone().unwrap(), program);
        std::io::copy(&mut from, &mut to).unwrap();
        to.shutdown(Shutdown::Both).unwrap();
    });
    let data = noise(512 << 10);
    let mut back = Vec::new();
    for part in data.chunks(8 << 10) {
        guest.send_data(1, 80, part);
        back.extend(guest.receive_data(part.len()));
        guest.send(op::CREDIT_UPDATE, 1, 80);
    }
    assert!(back == data);
    guest.shut_down(1, 80, SHUTDOWN_SEND);
    echo.join().unwrap();
}

/// Counts what is logged.
struct Counter(AtomicUsize);

impl Counter {
    fn wait_for(&self, count: usize) {
        let late = Instant::now() + Duration::from_secs(60);
        while self.0.load(Ordering::Relaxed) < count && Instant::now() < late {
            std::thread::yield_now();
        }
        assert_eq!(self.0.load(Ordering::Relaxed), count);
    }
}

impl log::Log for Counter {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.level() <= log::Level::Warn {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}

static WARNINGS: Counter = Counter(AtomicUsize::new(0));

/// A limit of descriptors is a process's, and other tests are not to suffer from it.
#[test]
fn a_program_waits_for_a_descriptor_and_nothing_spins() {
    const ALONE: &str = "DUPLEX_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let name = "sockets::a_program_waits_for_a_descriptor_and_nothing_spins";
        let mut command = Command::new(std::env::current_exe().unwrap());
        let output = command.args(["--exact", name]).env(ALONE, "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    log::set_logger(&WARNINGS).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let mut guest = Guest::new();
    let mut first = UnixStream::connect(guest.path()).unwrap();
    first.write_all(b"CONNECT 1\n").unwrap();
    assert_eq!(guest.receive().0.dst_port, 1);
    let mut others = [(); 3].map(|()| unconnected());
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let next = u64::try_from(unconnected().as_raw_fd()).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, next, most).unwrap();

    let [second, third, fourth] = &mut others;
    call(second, &guest, 2);
    WARNINGS.wait_for(1);
    while let Some((header, _)) = guest.receive_within(SOON) {
        assert_eq!(header.dst_port, 1);
    }
    WARNINGS.wait_for(1);
    // Its descriptor stays taken on this side.
    first.shutdown(Shutdown::Both).unwrap();
    while guest.receive().0.dst_port != 2 {}
    call(third, &guest, 3);
    WARNINGS.wait_for(2);
    while let Some((header, _)) = guest.receive_within(SOON) {
        assert_eq!(header.dst_port, 1);
    }
    WARNINGS.wait_for(2);
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    call(fourth, &guest, 4);
    let mut asked = [guest.receive().0.dst_port, guest.receive().0.dst_port];
    asked.sort_unstable();
    assert_eq!(asked, [3, 4]);
}

fn unconnected() -> UnixStream {
    socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap().into()
}

fn call(program: &mut UnixStream, guest: &Guest, port: u32) {
    connect(program.as_raw_fd(), &UnixAddr::new(&guest.path()).unwrap()).unwrap();
    program.write_all(format!("CONNECT {port}\n").as_bytes()).unwrap();
}
