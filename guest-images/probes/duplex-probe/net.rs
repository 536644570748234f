//! How fast it talks: bytes a second each way, and how long a byte takes there and back, over TCP.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::json::{self, Object};
use crate::system::{Failure, ms, quantile, rate};

/// What is sent at a time.
const BLOCK: usize = 128 << 10;
/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a client wants, as the first byte of its connection; how much follows, in 8 bytes.
const SENDS: u8 = b's';
const RECEIVES: u8 = b'r';
const TAKES_TURNS: u8 = b't';

/// Listens on any port of the address, prints it, and serves who comes, one after the other, until the time
/// is over or its input ends.
pub(crate) fn serve(address: &str, seconds: u64) -> Result<(), Failure> {
    let listener = TcpListener::bind((address, 0))?;
    json::say(&Object::new().plain("port", listener.local_addr()?.port()).finish())?;
    let until = Instant::now() + Duration::from_secs(seconds);
    listener.set_nonblocking(true)?;
    while wait(&listener, until)? {
        match listener.accept() {
            // One that goes away is the client's affair.
            Ok((client, _)) => drop(answer(client)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Waits for a client; false at the end.
fn wait(listener: &TcpListener, until: Instant) -> Result<bool, Failure> {
    use std::os::fd::AsRawFd;
    let left = until.saturating_duration_since(Instant::now());
    let events = libc::POLLIN;
    let of = |fd| libc::pollfd { fd, events, revents: 0 };
    let mut both = [of(listener.as_raw_fd()), of(libc::STDIN_FILENO)];
    let left = i32::try_from(left.as_millis())?;
    // SAFETY: an array of two, which it writes to.
    let ready = unsafe { libc::poll(both.as_mut_ptr(), 2, left) };
    Ok(ready > 0 && both[1].revents == 0)
}

fn answer(mut client: TcpStream) -> io::Result<()> {
    client.set_nonblocking(false)?;
    prepare(&client)?;
    let (mut kind, mut amount) = ([0], [0; 8]);
    client.read_exact(&mut kind)?;
    client.read_exact(&mut amount)?;
    let amount = u64::from_be_bytes(amount);
    match kind[0] {
        SENDS => {
            receive(&mut client, amount)?;
            client.write_all(&kind)
        }
        RECEIVES => send(&mut client, amount),
        TAKES_TURNS => (0..amount).try_for_each(|_| {
            client.read_exact(&mut kind)?;
            client.write_all(&kind)
        }),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Sends and receives so many MiB, then takes turns so many times, and prints how that went.
pub(crate) fn call(address: &str, port: u16, mib: u64, rounds: u64) -> Result<(), Failure> {
    let address = if address == "gateway" { gateway()? } else { address.parse()? };
    let connect = |kind, amount: u64| -> Result<TcpStream, Failure> {
        let mut server = TcpStream::connect_timeout(&(address, port).into(), PATIENCE)
            .map_err(|error| format!("{address}:{port}: {error}"))?;
        prepare(&server)?;
        let [a, b, c, d, e, f, g, h] = amount.to_be_bytes();
        server.write_all(&[kind, a, b, c, d, e, f, g, h])?;
        Ok(server)
    };
    let bytes = mib.max(1) << 20;

    let mut server = connect(SENDS, bytes)?;
    let start = Instant::now();
    send(&mut server, bytes)?;
    // It has all of it when it says so.
    server.read_exact(&mut [0])?;
    let sent = start.elapsed();

    let mut server = connect(RECEIVES, bytes)?;
    let start = Instant::now();
    receive(&mut server, bytes)?;
    let received = start.elapsed();

    let rounds = rounds.max(1);
    let mut server = connect(TAKES_TURNS, rounds)?;
    let mut times = Vec::new();
    for _ in 0..rounds {
        let start = Instant::now();
        server.write_all(&[1])?;
        server.read_exact(&mut [0])?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let line = Object::new()
        .number("send", rate(bytes, sent))
        .number("receive", rate(bytes, received))
        .number("round_trip", ms(quantile(&times, 500)))
        .number("round_trip_p99", ms(quantile(&times, 990)));
    json::say(&line.finish())
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))
}

fn send(to: &mut TcpStream, bytes: u64) -> io::Result<()> {
    let block = vec![1; BLOCK];
    let mut left = bytes;
    while left > 0 {
        let next = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        to.write_all(&block[..next])?;
        left -= next as u64;
    }
    Ok(())
}

fn receive(from: &mut TcpStream, bytes: u64) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    let mut left = bytes;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        match from.read(&mut block[..most])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => left -= read as u64,
        }
    }
    Ok(())
}

/// Where the default route leads: the kernel's list has addresses as hexadecimal words in this machine's
/// order.
fn gateway() -> Result<std::net::IpAddr, Failure> {
    let routes = fs::read_to_string("/proc/net/route")?;
    let default = routes.lines().skip(1).find_map(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let (destination, gateway) = (columns.next()?, columns.next()?);
        (destination == "00000000" && gateway != "00000000").then_some(gateway)
    });
    let default = default.ok_or("there is no default route: give the server's address")?;
    Ok(Ipv4Addr::from(u32::from_str_radix(default, 16)?.to_ne_bytes()).into())
}
