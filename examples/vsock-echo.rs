//! Both ends of vsock, for the tests on real kernels and to look at: in the guest as /bin/program of
//! the demo guest (`duplex.then=program`), and on the host as
//! `vsock-echo PATH COMMAND…`, which starts the guest and ends as it does.
//!
//! Each side sends the other 16 MiB, which come back, and then the host opens 200 connections, one
//! after the other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write, copy};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Instant;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, VsockAddr, accept4, bind, connect, listen,
    shutdown, socket,
};
use sha2::{Digest, Sha256};

const HOST: u32 = 2;
/// At which the host echoes.
const HOST_ECHO: u32 = 1000;
/// To which the guest connects when it listens.
const HOST_BELL: u32 = 1001;
/// At which the guest echoes.
const GUEST_ECHO: u32 = 2000;
const BYTES: usize = 16 << 20;
const CONNECTIONS: usize = 200;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(path) => host(Path::new(&path), arguments.collect()),
        None => {
            guest();
            ExitCode::SUCCESS
        }
    }
}

/// Noise that is the same on both sides.
fn noise() -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()[3]
    };
    (0..BYTES).map(|_| next()).collect()
}

/// Sends all of it, and compares what comes back with it; returns what there is to say.
fn there_and_back(
    who: &str,
    mut to: impl Write + Send + 'static,
    mut from: impl Read,
    end: OwnedFd,
) -> String {
    let data = noise();
    let expected = Sha256::digest(&data);
    let start = Instant::now();
    let sender = thread::spawn(move || {
        to.write_all(&data).unwrap();
        // The other side sees the end, and ends too.
        shutdown(end.as_raw_fd(), nix::sys::socket::Shutdown::Write).unwrap();
    });
    let mut back = Vec::new();
    from.read_to_end(&mut back).unwrap();
    let rate = (2 * BYTES) as f64 / start.elapsed().as_secs_f64() / f64::from(1 << 20);
    sender.join().unwrap();
    assert_eq!(back.len(), BYTES);
    assert_eq!(Sha256::digest(&back), expected);
    format!("duplex {who}: 16 MiB came back, {rate:.1} MiB/s")
}

fn guest() {
    let stream = guest_connect(HOST_ECHO);
    let (to, end) = (stream.try_clone().unwrap(), stream.try_clone().unwrap().into());
    println!("{}", there_and_back("guest", to, stream, end));
    let flags = SockFlag::SOCK_CLOEXEC;
    let listener = socket(AddressFamily::Vsock, SockType::Stream, flags, None).unwrap();
    bind(listener.as_raw_fd(), &VsockAddr::new(libc::VMADDR_CID_ANY, GUEST_ECHO)).unwrap();
    listen(&listener, Backlog::new(16).unwrap()).unwrap();
    drop(guest_connect(HOST_BELL));
    for _ in 0..=CONNECTIONS {
        let fd = accept4(listener.as_raw_fd(), flags).unwrap();
        // SAFETY: accept4 has just made it, and nobody else knows of it.
        let mut stream =
            File::from(unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) });
        let mut back = stream.try_clone().unwrap();
        copy(&mut stream, &mut back).unwrap();
    }
    println!("duplex guest: echoed {} connections", CONNECTIONS + 1);
}

fn guest_connect(port: u32) -> File {
    let flags = SockFlag::SOCK_CLOEXEC;
    let stream = socket(AddressFamily::Vsock, SockType::Stream, flags, None).unwrap();
    connect(stream.as_raw_fd(), &VsockAddr::new(HOST, port)).unwrap();
    stream.into()
}

fn host(path: &Path, command: Vec<OsString>) -> ExitCode {
    let port = |port: u32| PathBuf::from(format!("{}_{port}", path.display()));
    let echo = UnixListener::bind(port(HOST_ECHO)).unwrap();
    let bell = UnixListener::bind(port(HOST_BELL)).unwrap();
    let mut guest = Command::new(&command[0]).args(&command[1..]).spawn().unwrap();
    let path = path.to_owned();
    let work = thread::spawn(move || {
        let (mut stream, _) = echo.accept().unwrap();
        let mut back = stream.try_clone().unwrap();
        copy(&mut stream, &mut back).unwrap();
        stream.shutdown(Shutdown::Both).unwrap();
        bell.accept().unwrap();
        let stream = host_connect(&path);
        let (to, end) =
            (stream.get_ref().try_clone().unwrap(), stream.get_ref().try_clone().unwrap());
        let first = there_and_back("host", to, stream, end.into());
        let start = Instant::now();
        for number in 0..CONNECTIONS {
            let mut stream = host_connect(&path);
            let question = format!("connection {number}");
            stream.get_mut().write_all(question.as_bytes()).unwrap();
            stream.get_mut().shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, question);
        }
        let each = start.elapsed().as_secs_f64() * 1000.0 / CONNECTIONS as f64;
        format!("{first}\nduplex host: {CONNECTIONS} connections, {each:.2} ms each")
    });
    let status = guest.wait().unwrap();
    // A guest that ends early leaves nobody to talk to.
    if !status.success() {
        return ExitCode::FAILURE;
    }
    let Ok(said) = work.join() else { return ExitCode::FAILURE };
    // Only now: the guest writes to the same place.
    println!("{said}");
    ExitCode::SUCCESS
}

fn host_connect(path: &Path) -> BufReader<UnixStream> {
    let mut stream = BufReader::new(UnixStream::connect(path).unwrap());
    writeln!(stream.get_mut(), "CONNECT {GUEST_ECHO}").unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert!(line.starts_with("OK "), "{line:?}");
    stream
}
