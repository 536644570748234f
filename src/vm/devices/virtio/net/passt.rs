//! Starts passt, which lets a guest use the network as its user does: through sockets, without
//! privileges. It ends when its socket is closed, however this process ends.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use nix::sys::wait::WaitStatus;
use thiserror::Error;

use super::stream::Stream;
use crate::host;
use crate::isolate::{Program, cgroups};
use crate::workload::{Ipv4Prefix, Protocol, PublishedPort};

const PROGRAM: &str = "passt";
/// The number of the socket in passt, after its standard streams.
const SOCKET: &str = "3";
/// The MTU unless another is given: the largest that passt has, since each frame costs it as much.
const MTU: u16 = 65520;

/// Why there is no user networking.
#[derive(Debug, Error)]
pub enum PasstError {
    /// No such program.
    #[error("--net user needs passt, which is not installed: 'apt-get install passt'")]
    Missing,
    /// It cannot be started.
    #[error("--net user: passt cannot be started: {0}")]
    Start(#[from] io::Error),
    /// Its control group.
    #[error("--net user: {0}")]
    Group(#[from] cgroups::Error),
    /// No interface can be made.
    #[error("--net user: /dev/net/tun cannot be opened: {0} ('duplex doctor' tells more)")]
    Tun(#[source] io::Error),
    /// It has looked at this host and wants something else.
    #[error(
        "--net user: passt finds no network to use here: {0}: it wants an interface that is up, with an address and a default route ('ip route' shows them)"
    )]
    NoRoute(String),
    /// It said no for another reason.
    #[error("--net user: passt has ended: {0}")]
    Ended(String),
}

/// The addresses of a guest that does not ask passt for any: QEMU's users know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserNetwork {
    /// The guest's.
    pub own: Ipv4Prefix,
    /// Behind it is the host's loopback, and everything else.
    pub gateway: Ipv4Addr,
    /// Who is asked for names: what arrives there is asked of the first server that the host has.
    pub dns: Ipv4Addr,
}

/// Which ports are forwarded: these and no others.
pub(crate) fn published(ports: &[PublishedPort]) -> Vec<String> {
    let mut options = Vec::new();
    for (option, protocol) in [("--tcp-ports", Protocol::Tcp), ("--udp-ports", Protocol::Udp)] {
        let of_it: Vec<_> = ports.iter().filter(|port| port.protocol == protocol).collect();
        if of_it.is_empty() {
            options.extend([option.to_owned(), "none".to_owned()]);
        }
        for port in of_it {
            let at = port.address().map(|address| format!("{address}/")).unwrap_or_default();
            options
                .extend([option.to_owned(), format!("{at}{}:{}", port.host.port(), port.inside)]);
        }
    }
    options
}

impl UserNetwork {
    /// Those of the guest's interface number `number`, each in a network of its own.
    pub fn of(number: usize) -> UserNetwork {
        let third = u8::try_from(number).unwrap_or(u8::MAX).saturating_add(2);
        let at = |last| Ipv4Addr::new(10, 0, third, last);
        UserNetwork { own: Ipv4Prefix { address: at(15), bits: 24 }, gateway: at(2), dns: at(3) }
    }
}

/// Starts it; returns the link to it and the MTU. Without a network of its own, what the guest gets by
/// DHCP are the host's addresses. These ports of the host lead to the guest's.
///
/// # Errors
/// Why it has not started.
pub fn start(
    mtu: Option<u16>,
    network: Option<&UserNetwork>,
    ports: &[PublishedPort],
) -> Result<(Stream, u16), PasstError> {
    let path = host::installed_program(PROGRAM).ok_or(PasstError::Missing)?;
    let mtu = mtu.unwrap_or(MTU);
    let (ours, theirs) = UnixStream::pair()?;
    let (mut said, log) = io::pipe()?;
    let null = || File::options().read(true).write(true).open("/dev/null").map(OwnedFd::from);
    let size = mtu.to_string();
    let mut argv: Vec<String> =
        [PROGRAM, "--quiet", "--stderr", "--fd", SOCKET, "--mtu", &size].map(Into::into).into();
    if let Some(UserNetwork { own, gateway, dns }) = network {
        for (option, value) in [
            ("--address", own.address.to_string()),
            ("--netmask", own.bits.to_string()),
            ("--gateway", gateway.to_string()),
            ("--dns-forward", dns.to_string()),
        ] {
            argv.extend([option.to_owned(), value]);
        }
    }
    argv.extend(published(ports));
    let process = Program::new(path, argv)?
        .env([("PATH", std::env::var_os("PATH").as_deref().unwrap_or(OsStr::new("/usr/bin")))])?
        .descriptors(vec![null()?, null()?, log.into(), theirs.into()])
        .spawn()?;
    // It goes into the background, and lets go of its stderr, when it is ready.
    let mut text = Vec::new();
    said.by_ref().take(16 << 10).read_to_end(&mut text)?;
    match process.wait()? {
        WaitStatus::Exited(_, 0) => Ok((Stream::new(ours.into())?, mtu)),
        _ => Err(why(&String::from_utf8_lossy(&text))),
    }
}

/// What passt said, without what it always says.
pub(crate) fn why(text: &str) -> PasstError {
    let noise = ["Failed to send ", "Don't run as root"];
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<&str> =
        lines.filter(|line| !noise.iter().any(|start| line.starts_with(start))).collect();
    let said = lines.join("; ");
    if said.contains("routable interface") {
        return PasstError::NoRoute(said);
    }
    PasstError::Ended(if said.is_empty() { "it does not say why".into() } else { said })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passt_says_is_told_without_its_noise() {
        let text = "Failed to send 47 bytes to syslog\nDon't run as root. Changing to nobody...\n\
                    No external routable interface for IPv4\nExternal interface not usable\n";
        let error = why(text).to_string();
        assert!(error.contains("for IPv4; External interface not usable"), "{error}");
        assert!(error.contains("default route") && !error.contains("syslog"), "{error}");
        assert!(why("\n").to_string().contains("does not say why"));
        assert!(why("out of memory\n").to_string().contains("out of memory"));
    }
}
