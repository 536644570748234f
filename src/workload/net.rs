//! A network interface, as `--net` describes it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::{ParseError, parse_size};

/// The longest name of a network interface (Linux: IFNAMSIZ, less its NUL).
const MAX_NAME: usize = 15;
/// The least MTU (virtio 1.2, section 5.1.4.1): what every IPv4 link can carry.
const MIN_MTU: u16 = 68;

/// A network interface of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Net {
    /// Where its packets go.
    pub backend: NetBackend,
    /// Its address; without one, [`MacAddress::derived`].
    pub mac: Option<MacAddress>,
    /// The largest packet behind the Ethernet header.
    pub mtu: Option<u16>,
    /// The most bytes a second, each way.
    pub bytes_per_second: Option<u64>,
    /// The most packets a second, each way.
    pub packets_per_second: Option<u64>,
    /// Which packets may have work left open.
    pub offload: Offload,
}

/// Which way packets may go with checksums and segments left open, where the back end can have them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Offload {
    /// Both ways.
    #[default]
    On,
    /// Neither way: every packet is as it would be on a wire.
    Off,
    /// Those that the guest receives.
    Receive,
    /// Those that the guest sends.
    Send,
}

impl Offload {
    const WORDS: [(&'static str, Offload); 4] = [
        ("on", Offload::On),
        ("off", Offload::Off),
        ("rx", Offload::Receive),
        ("tx", Offload::Send),
    ];

    /// Whether the guest may receive such packets.
    pub fn receives(self) -> bool {
        matches!(self, Offload::On | Offload::Receive)
    }

    /// Whether the guest may send such packets.
    pub fn sends(self) -> bool {
        matches!(self, Offload::On | Offload::Send)
    }
}

/// Where the packets of a guest go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetBackend {
    /// To a tap device of the host.
    Tap(String),
    /// Through sockets of this user, by passt.
    User,
    /// To a network of duplex's on this host, through a port of its own.
    Bridge(String),
    /// This host's own network is the instance's.
    Host,
    /// Nowhere: there is no interface.
    None,
}

impl NetBackend {
    /// The network that instances are on if none is named; it is made on first need.
    pub const DEFAULT_BRIDGE: &str = "duplex0";
}

impl fmt::Display for NetBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetBackend::Tap(name) => write!(f, "tap={name}"),
            NetBackend::User => f.write_str("user"),
            NetBackend::Bridge(name) => write!(f, "bridge={name}"),
            NetBackend::Host => f.write_str("host"),
            NetBackend::None => f.write_str("none"),
        }
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// An address for the interface number `number` on `backend`: the same on each start, and on no
    /// other host, whose `host` (its machine id) is another. Locally administered, for one station.
    pub fn derived(host: &str, backend: &NetBackend, number: usize) -> MacAddress {
        let digest = Sha256::digest(format!("duplex {host} {backend} {number}"));
        let mut address = [0; 6];
        for (byte, random) in address.iter_mut().zip(digest) {
            *byte = random;
        }
        let [first, ..] = &mut address;
        *first = *first & !1 | 2;
        MacAddress(address)
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddress {
    type Err = NetError;

    fn from_str(text: &str) -> Result<MacAddress, NetError> {
        let wrong = || NetError::Mac(text.to_owned());
        let mut address = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut address {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(wrong)?;
            let digits = part.bytes().all(|byte| byte.is_ascii_hexdigit());
            *byte = u8::from_str_radix(part, 16).ok().filter(|_| digits).ok_or_else(wrong)?;
        }
        let [first, ..] = address;
        let fits = parts.next().is_none() && first & 1 == 0 && address != [0; 6];
        fits.then_some(MacAddress(address)).ok_or_else(wrong)
    }
}

/// What is wrong with a `--net`.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NetError {
    /// Nothing that is known before the first comma.
    #[error("'{0}' is no network: give tap=NAME, user or none")]
    Backend(String),
    /// Not a name that an interface can have.
    #[error(
        "'{0}' is no name of a tap: give 1 to {MAX_NAME} characters without space, '/', ':' or '%'"
    )]
    Name(String),
    /// Options of nothing.
    #[error("none has no options: leave '{0}' out")]
    OptionOfNone(String),
    /// Options of what is not duplex's.
    #[error("host has no options: leave '{0}' out")]
    OptionOfHost(String),
    /// Nothing that an instance can have before the first comma.
    #[error("'{0}' is no network: give none, user, bridge, bridge=NAME, tap=NAME or host")]
    Network(String),
    /// A word that means nothing.
    #[error("'{0}' is no option of a network: they are mac=, mtu=, rate=, pps= and offload=")]
    Unknown(String),
    /// The same option again.
    #[error("'{0}' is given twice: give it once")]
    Twice(String),
    /// Not an address that an interface can have.
    #[error(
        "'{0}' is no address of one interface: give six bytes, the first of them even, such as \
         52:54:00:12:34:56"
    )]
    Mac(String),
    /// Not a size of packets.
    #[error("'{0}' is no MTU: give {MIN_MTU} to 65535")]
    Mtu(String),
    /// Not a size.
    #[error("rate: {0}")]
    Rate(#[source] ParseError),
    /// No bytes at all.
    #[error("a rate of 0 would let nothing through: give at least 1")]
    NoRate,
    /// Not a number of packets.
    #[error("'{0}' is not a number of packets a second: give at least 1")]
    Packets(String),
    /// Not a direction.
    #[error("'{0}' is no way to offload: give on, off, rx or tx")]
    Offload(String),
}

impl FromStr for Net {
    type Err = NetError;

    fn from_str(text: &str) -> Result<Net, NetError> {
        let mut words = text.split(',');
        let first = words.next().unwrap_or_default();
        let mut net = Net::new(match first.split_once('=') {
            None if first == "user" => NetBackend::User,
            None if first == "none" => NetBackend::None,
            Some(("tap", name)) if is_interface_name(name) => NetBackend::Tap(name.to_owned()),
            Some(("tap", name)) => return Err(NetError::Name(name.to_owned())),
            _ => return Err(NetError::Backend(first.to_owned())),
        });
        let mut seen = Vec::new();
        for option in words {
            if net.backend == NetBackend::None {
                return Err(NetError::OptionOfNone(option.to_owned()));
            }
            let unknown = || NetError::Unknown(option.to_owned());
            let (name, value) = option.split_once('=').ok_or_else(unknown)?;
            if seen.contains(&name) {
                return Err(NetError::Twice(name.to_owned()));
            }
            seen.push(name);
            match name {
                "mac" => net.mac = Some(value.parse()?),
                "mtu" => {
                    let mtu = value.parse().ok().filter(|mtu| *mtu >= MIN_MTU);
                    net.mtu = Some(mtu.ok_or_else(|| NetError::Mtu(value.to_owned()))?);
                }
                "rate" => net.bytes_per_second = Some(parse_rate(value)?),
                "pps" => {
                    let rate = value.parse().ok().filter(|rate| *rate > 0);
                    let rate = rate.ok_or_else(|| NetError::Packets(value.to_owned()))?;
                    net.packets_per_second = Some(rate);
                }
                "offload" => {
                    let known = Offload::WORDS.iter().find(|(word, _)| *word == value);
                    let (_, offload) = known.ok_or_else(|| NetError::Offload(value.to_owned()))?;
                    net.offload = *offload;
                }
                _ => return Err(unknown()),
            }
        }
        Ok(net)
    }
}

/// Reads how many bytes a second may pass: a size, at least 1, with "/s" after it or not.
///
/// # Errors
/// It is not a size, or nothing at all.
pub fn parse_rate(text: &str) -> Result<u64, NetError> {
    let rate = parse_size(text.strip_suffix("/s").unwrap_or(text)).map_err(NetError::Rate)?;
    if rate > 0 { Ok(rate) } else { Err(NetError::NoRate) }
}

/// Whether an interface can have this name (Linux: dev_valid_name), and it is no pattern.
fn is_interface_name(name: &str) -> bool {
    let bad = |c: char| c.is_whitespace() || c.is_control() || "/:%".contains(c);
    (1..=MAX_NAME).contains(&name.len()) && name != "." && name != ".." && !name.contains(bad)
}

impl Net {
    /// A network without options.
    pub fn new(backend: NetBackend) -> Net {
        let (bytes_per_second, packets_per_second) = (None, None);
        let offload = Offload::On;
        Net { backend, mac: None, mtu: None, bytes_per_second, packets_per_second, offload }
    }

    /// The network as an argument that reads back as it.
    pub fn to_argument(&self) -> String {
        let mut argument = self.backend.to_string();
        let offload = Offload::WORDS.iter().find(|(_, offload)| *offload == self.offload);
        for (name, value) in [
            ("mac", self.mac.map(|mac| mac.to_string())),
            ("mtu", self.mtu.map(|mtu| mtu.to_string())),
            ("rate", self.bytes_per_second.map(|rate| rate.to_string())),
            ("pps", self.packets_per_second.map(|rate| rate.to_string())),
            ("offload", offload.map(|(word, _)| (*word).to_owned())),
        ] {
            if let Some(value) = value {
                argument.push_str(&format!(",{name}={value}"));
            }
        }
        argument
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wrong(text: &str) -> NetError {
        text.parse::<Net>().unwrap_err()
    }

    #[test]
    fn options_follow_the_backend() {
        assert_eq!("user".parse(), Ok(Net::new(NetBackend::User)));
        assert_eq!("none".parse(), Ok(Net::new(NetBackend::None)));
        let full = "tap=tap0,mac=52:54:00:Ab:cd:ef,mtu=9000,rate=10M/s,pps=500,offload=rx";
        let expected = Net {
            mac: Some(MacAddress([0x52, 0x54, 0, 0xAB, 0xCD, 0xEF])),
            mtu: Some(9000),
            bytes_per_second: Some(10 << 20),
            packets_per_second: Some(500),
            offload: Offload::Receive,
            ..Net::new(NetBackend::Tap("tap0".into()))
        };
        assert_eq!(full.parse(), Ok(expected));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for text in ["", "tap", "bridge=br0", "user=x"] {
            assert_eq!(wrong(text), NetError::Backend(text.into()));
        }
        for name in ["", "0123456789abcdef", "a b", "a/b", "..", "tap%d", "a:0"] {
            assert_eq!(wrong(&format!("tap={name}")), NetError::Name(name.into()));
        }
        assert_eq!(wrong("none,mtu=1500"), NetError::OptionOfNone("mtu=1500".into()));
        assert_eq!(wrong("user,fast"), NetError::Unknown("fast".into()));
        assert_eq!(wrong("user,fast=1"), NetError::Unknown("fast=1".into()));
        assert_eq!(wrong("user,mtu=1500,mtu=1500"), NetError::Twice("mtu".into()));
        for mac in [
            "",
            "52:54:00:12:34",
            "52:54:00:12:34:56:78",
            "53:54:00:12:34:56",
            "00:00:00:00:00:00",
            "52:54:00:12:34:+6",
            "525:4:00:12:34:56",
        ] {
            assert_eq!(wrong(&format!("user,mac={mac}")), NetError::Mac(mac.into()));
        }
        for mtu in ["0", "67", "65536", "x"] {
            assert_eq!(wrong(&format!("user,mtu={mtu}")), NetError::Mtu(mtu.into()));
        }
        assert!(matches!(wrong("user,rate=fast"), NetError::Rate(_)));
        assert_eq!(wrong("user,rate=0"), NetError::NoRate);
        assert_eq!(wrong("user,pps=0"), NetError::Packets("0".into()));
        assert_eq!(wrong("user,offload=none"), NetError::Offload("none".into()));
    }

    #[test]
    fn a_derived_address_is_stable_and_of_one_station() {
        let tap = NetBackend::Tap("tap0".into());
        let address = MacAddress::derived("a", &tap, 0);
        assert_eq!(address, MacAddress::derived("a", &tap, 0));
        assert_eq!(address.0[0] & 3, 2, "locally administered, not a group");
        for other in [
            MacAddress::derived("b", &tap, 0),
            MacAddress::derived("a", &NetBackend::Tap("tap1".into()), 0),
            MacAddress::derived("a", &NetBackend::User, 0),
            MacAddress::derived("a", &tap, 1),
        ] {
            assert_ne!(address, other);
        }
    }

    proptest! {
        #[test]
        fn a_network_written_reads_back(
            name in "[a-z0-9.=-]{3,15}", mac: [u8; 5], mtu in proptest::option::of(68_u16..),
            rate in proptest::option::of(1_u64..), pps in proptest::option::of(1_u64..),
            offload in 0..Offload::WORDS.len(),
        ) {
            let [b, c, d, e, f] = mac;
            let net = Net {
                backend: NetBackend::Tap(name),
                mac: Some(MacAddress([0x52, b, c, d, e, f])),
                mtu,
                bytes_per_second: rate,
                packets_per_second: pps,
                offload: Offload::WORDS[offload].1,
            };
            prop_assert_eq!(net.to_argument().parse(), Ok(net));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".*") {
            let _ = text.parse::<Net>();
            let _ = format!("user,{text}").parse::<Net>();
        }
    }
}
