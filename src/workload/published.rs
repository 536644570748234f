//! A port that is published, as `-p` describes it.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A port of this host that leads to one of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The port of this host: at one of its addresses, or at all of them (0.0.0.0).
    pub host: SocketAddrV4,
    /// The instance's.
    pub inside: u16,
    /// What is spoken there.
    pub protocol: Protocol,
}

/// A protocol with ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// Connections.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

impl PublishedPort {
    /// The address of this host that it is at, if it is not at all of them.
    pub fn address(&self) -> Option<Ipv4Addr> {
        Some(*self.host.ip()).filter(|address| !address.is_unspecified())
    }
}

impl fmt::Display for PublishedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.host, self.inside, self.protocol)
    }
}

/// What is wrong with one.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PublishedPortError {
    /// Not of that form.
    #[error(
        "'{0}' does not say which port leads where: give [ADDRESS:]HOSTPORT:PORT[/tcp|/udp], such as \
         8080:80"
    )]
    Form(String),
    /// Not a port.
    #[error("'{0}' is no port: give 1 to 65535")]
    Port(String),
    /// Not an address that a host has.
    #[error("'{0}' is no IPv4 address of this host: give one such as 127.0.0.1")]
    Address(String),
    /// Neither TCP nor UDP.
    #[error("'{0}' has no ports: give tcp or udp")]
    Protocol(String),
}

impl FromStr for PublishedPort {
    type Err = PublishedPortError;

    fn from_str(text: &str) -> Result<Self, PublishedPortError> {
        use PublishedPortError as Wrong;
        let (ports, protocol) = match text.rsplit_once('/') {
            None => (text, Protocol::default()),
            Some((ports, "tcp")) => (ports, Protocol::Tcp),
            Some((ports, "udp")) => (ports, Protocol::Udp),
            Some((_, other)) => return Err(Wrong::Protocol(other.to_owned())),
        };
        let (host, inside) = ports.rsplit_once(':').ok_or_else(|| Wrong::Form(text.to_owned()))?;
        let (address, host) = match host.rsplit_once(':') {
            None => (Ipv4Addr::UNSPECIFIED, host),
            Some((address, host)) => {
                let known = address.parse().ok().filter(is_of_a_host);
                (known.ok_or_else(|| Wrong::Address(address.to_owned()))?, host)
            }
        };
        let host = SocketAddrV4::new(address, port(host)?);
        Ok(Self { host, inside: port(inside)?, protocol })
    }
}

fn is_of_a_host(address: &Ipv4Addr) -> bool {
    !address.is_multicast() && !address.is_broadcast()
}

fn port(text: &str) -> Result<u16, PublishedPortError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| digits && *port > 0);
    port.ok_or_else(|| PublishedPortError::Port(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<String, PublishedPortError> {
        text.parse::<PublishedPort>().map(|port| port.to_string())
    }

    #[test]
    fn a_port_of_the_host_leads_to_one_inside() {
        assert_eq!(read("8080:80").unwrap(), "0.0.0.0:8080:80/tcp");
        assert_eq!(read("127.0.0.1:5353:53/udp").unwrap(), "127.0.0.1:5353:53/udp");
        let everywhere: PublishedPort = "0.0.0.0:1:2/tcp".parse().unwrap();
        assert_eq!((everywhere.address(), everywhere.inside), (None, 2));
    }

    #[test]
    fn what_is_wrong_is_named() {
        use PublishedPortError as Wrong;
        for text in ["", "80", "80/udp", "a"] {
            assert_eq!(read(text), Err(Wrong::Form(text.into())));
        }
        for (text, port) in [
            (":80", ""),
            ("80:", ""),
            ("0:80", "0"),
            ("80:65536", "65536"),
            ("+80:80", "+80"),
            ("80-90:80", "80-90"),
            ("80:80 ", "80 "),
        ] {
            assert_eq!(read(text), Err(Wrong::Port(port.into())), "{text}");
        }
        for (text, address) in [
            (":80:80", ""),
            ("[::1]:80:80", "[::1]"),
            ("localhost:80:80", "localhost"),
            ("224.0.0.1:80:80", "224.0.0.1"),
            ("1:2:80:80", "1:2"),
        ] {
            assert_eq!(read(text), Err(Wrong::Address(address.into())), "{text}");
        }
        assert_eq!(read("80:80/sctp"), Err(Wrong::Protocol("sctp".into())));
        assert_eq!(read("80:80/"), Err(Wrong::Protocol(String::new())));
    }

    proptest! {
        #[test]
        fn one_written_reads_back(ip: [u8; 4], host in 1_u16.., inside in 1_u16.., udp: bool) {
            let [_, b, c, d] = ip;
            let port = PublishedPort {
                host: SocketAddrV4::new(Ipv4Addr::new(10, b, c, d), host),
                inside,
                protocol: if udp { Protocol::Udp } else { Protocol::Tcp },
            };
            prop_assert_eq!(port.to_string().parse(), Ok(port));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".*") {
            let _ = text.parse::<PublishedPort>();
        }
    }
}
