//! A DHCP client (RFC 2131) that asks once, before the command is started.
//!
//! It asks for answers by broadcast, so that an ordinary socket receives them while the interface has
//! no address. The lease is not renewed.

mod message;

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::socket::sockopt::{BindToDevice, Broadcast, ReuseAddr};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket};

pub(super) use self::message::Lease;
use self::message::{Answer, Asker};

const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
const SERVERS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::BROADCAST, 67);

/// How long each question waits for its answer before it is asked again.
const WAITS: [u64; 4] = [1, 2, 4, 8];

/// A message is no larger: what does not fit is cut off, and no message then.
const LARGEST: usize = 1500;

/// Gets an address for an interface that is up.
///
/// # Errors
/// Nobody has answered, or not what was asked.
pub(super) fn lease(name: &str, hardware: &[u8], hostname: &str) -> io::Result<Lease> {
    let wrong = |what: &str| io::Error::new(ErrorKind::InvalidData, what);
    let hardware = hardware.try_into().map_err(|_| wrong("it is no Ethernet"))?;
    let transaction = u32::from_le_bytes(crate::random::random_bytes()?);
    let asker = Asker { transaction, hardware, hostname };
    let socket = open(name)?;
    let (address, server) = ask(&socket, &asker, &asker.discover(), |answer| match answer {
        Answer::Offer { address, server } => Some((address, server)),
        _ => None,
    })?;
    let lease = ask(&socket, &asker, &asker.request(address, server), |answer| match answer {
        Answer::Lease(lease) => Some(Some(lease)),
        Answer::Refused => Some(None),
        Answer::Offer { .. } => None,
    })?;
    lease.ok_or_else(|| wrong("the server has refused the address that it had offered"))
}

fn open(name: &str) -> io::Result<UdpSocket> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket: OwnedFd = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
    setsockopt(&socket, BindToDevice, &name.into())?;
    setsockopt(&socket, Broadcast, &true)?;
    // Each interface has a socket of its own on this port.
    setsockopt(&socket, ReuseAddr, &true)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(CLIENT))?;
    Ok(socket.into())
}

/// Asks until somebody answers what `wanted` takes.
fn ask<T>(
    socket: &UdpSocket,
    asker: &Asker<'_>,
    question: &[u8],
    wanted: impl Fn(Answer) -> Option<T>,
) -> io::Result<T> {
    let mut buffer = [0; LARGEST];
    for seconds in WAITS {
        socket.send_to(question, SERVERS)?;
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            socket.set_read_timeout(Some(left))?;
            let length = match socket.recv(&mut buffer) {
                Ok(length) => length,
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => break,
                    ErrorKind::Interrupted => continue,
                    _ => return Err(error),
                },
            };
            let answer = buffer.get(..length).and_then(|bytes| asker.parse(bytes));
            if let Some(found) = answer.and_then(&wanted) {
                return Ok(found);
            }
        }
    }
    let text = "no server has answered: give the interface an address with ip=ADDRESS/BITS";
    Err(io::Error::new(ErrorKind::TimedOut, text))
}
