//! Both ends of TCP connections, for the tests of networks on real kernels. In the guest:
//!
//! - `net-peer take ADDRESS`: takes what the host gives, and says how much and its hash
//! - `net-peer give ADDRESS BYTES`: gives the host noise, and says the same
//! - `net-peer knock ADDRESS COUNT`: that many short connections, one after the other; then waits
//!   until the host has as few connections, and duplex as few descriptors, as before
//! - `net-peer echo PORT`: says "up", and sends the first datagram that comes there back
//!
//! Anywhere, `net-peer datagram ADDRESS PORT` sends one, again and again, until it comes back.
//!
//! On the host, `net-peer serve ADDRESS BYTES COMMAND…` answers, starts the guest and ends as it does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

/// Where the host gives, takes, answers, and tells what there is.
const GIVE: u16 = 5001;
const TAKE: u16 = 5002;
const ECHO: u16 = 5003;
const COUNT: u16 = 5004;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["take", address] => println!("took {}", take(connect(address, GIVE))),
        ["give", address, bytes] => {
            println!("gave {}", give(connect(address, TAKE), bytes.parse().unwrap()));
        }
        ["echo", port] => echo(port.parse().unwrap()),
        ["datagram", address, port] => datagram(address.parse().unwrap(), port.parse().unwrap()),
        ["knock", address, count] => knock(address, count.parse().unwrap()),
        ["serve", address, bytes, program, ref arguments @ ..] => {
            let done = serve(address.parse().unwrap(), bytes.parse().unwrap());
            let status = Command::new(program).args(arguments).status().unwrap();
            // Not before: the guest's console goes to the same place, a few bytes at a time.
            for line in &*done.lock().unwrap() {
                println!("duplex host: {line}");
            }
            return u8::try_from(status.code().unwrap_or(125)).unwrap().into();
        }
        _ => return 2.into(),
    }
    ExitCode::SUCCESS
}

fn echo(port: u16) {
    let socket = UdpSocket::bind(("0.0.0.0", port)).unwrap();
    println!("up");
    let mut buffer = [0; 64];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    socket.send_to(&buffer[..length], from).unwrap();
}

fn datagram(address: IpAddr, port: u16) {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).unwrap();
    // Datagrams may be lost.
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    socket.connect((address, port)).unwrap();
    let mut buffer = [0; 64];
    let came_back = (0..10).any(|_| {
        socket.send(b"there").is_ok() && socket.recv(&mut buffer).is_ok_and(|length| length == 5)
    });
    println!("{}", if came_back { "and back" } else { "nothing" });
}

fn connect(address: &str, port: u16) -> TcpStream {
    TcpStream::connect((address, port)).unwrap()
}

/// Gives noise that begins with its seed: no two pages of it are alike.
fn give(mut stream: TcpStream, bytes: usize) -> String {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut left = bytes;
    while left > 0 {
        for word in buffer.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        let part = &buffer[..left.min(buffer.len())];
        hash.update(part);
        stream.write_all(part).unwrap();
        left -= part.len();
    }
    stream.shutdown(Shutdown::Write).unwrap();
    // The other side closes when it has everything.
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    said(bytes, hash)
}

fn take(mut stream: TcpStream) -> String {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut bytes = 0;
    loop {
        match stream.read(&mut buffer).unwrap() {
            0 => return said(bytes, hash),
            got => {
                hash.update(&buffer[..got]);
                bytes += got;
            }
        }
    }
}

fn said(bytes: usize, hash: Sha256) -> String {
    let mut text = format!("{bytes} bytes ");
    for byte in hash.finalize() {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

fn knock(address: &str, count: u32) {
    let before = ask(address);
    for number in 0..count {
        let mut stream = connect(address, ECHO);
        // The guest is the first to close: Debian 12's passt can lose the end of a connection that both
        // sides close at the same moment.
        let (sent, mut came) = (number.to_le_bytes(), [0; 4]);
        stream.write_all(&sent).unwrap();
        stream.read_exact(&mut came).unwrap();
        assert_eq!(came, sent);
    }
    println!("knocked {count} times");
    // Whoever closes connections may take a moment.
    while ask(address) != before {
        thread::yield_now();
    }
    println!("left nothing behind");
}

fn ask(address: &str) -> String {
    let mut answer = String::new();
    connect(address, COUNT).read_to_string(&mut answer).unwrap();
    answer
}

fn serve(address: IpAddr, bytes: usize) -> Arc<Mutex<Vec<String>>> {
    let done = Arc::<Mutex<Vec<String>>>::default();
    let (gave, took) = (done.clone(), done.clone());
    listen(address, GIVE, move |stream| {
        // Held to the end: the guest may be faster than this thread.
        let mut done = gave.lock().unwrap();
        done.push(format!("gave {}", give(stream, bytes)));
    });
    listen(address, TAKE, move |stream| {
        let mut done = took.lock().unwrap();
        done.push(format!("took {}", take(stream)));
    });
    listen(address, ECHO, |stream| {
        io::copy(&mut &stream, &mut &stream).unwrap();
    });
    listen(address, COUNT, |mut stream| {
        write!(stream, "{}", there_is()).unwrap();
    });
    done
}

fn listen(address: IpAddr, port: u16, serve: impl Fn(TcpStream) + Send + 'static) {
    let listener = TcpListener::bind((address, port)).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            serve(stream.unwrap());
        }
    });
}

/// How many connections this host has that are not over, and how many descriptors duplex has.
fn there_is() -> String {
    let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
    let state = |line: &str| line.split_whitespace().nth(3).map(ToOwned::to_owned);
    // All but those that listen, and those that wait for stray packets (TIME_WAIT).
    let states = sockets.lines().skip(1).filter_map(state);
    let connections = states.filter(|state| state != "0A" && state != "06").count();
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let descriptors: usize = processes
        .filter(|path| fs::read_to_string(path.join("comm")).is_ok_and(|name| name == "duplex\n"))
        .map(|path| fs::read_dir(path.join("fd")).map_or(0, Iterator::count))
        .sum();
    format!("{connections} connections, {descriptors} descriptors")
}
