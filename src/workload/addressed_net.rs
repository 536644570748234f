//! A network interface with an address: `--net` of `duplex run`, where a guest's init is duplex's own.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::net::{Net, NetBackend, NetError};

/// An interface of a guest, and what its init is to do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressedNet {
    /// The interface.
    pub net: Net,
    /// Its address; without, what the network has for it.
    pub address: Option<Address>,
    /// Where what is for other networks goes.
    pub gateway: Option<Ipv4Addr>,
    /// Who is asked for names.
    pub dns: Option<Ipv4Addr>,
}

/// Where an interface's address is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// From the caller.
    Fixed(Ipv4Prefix),
    /// From a DHCP server.
    Dhcp,
    /// There is none: the command may give it one.
    None,
}

/// An address in a network whose prefix has so many bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv4Prefix {
    /// The address.
    pub address: Ipv4Addr,
    /// 1 to 31.
    pub bits: u8,
}

impl fmt::Display for Ipv4Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// What is wrong with one.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum AddressedNetError {
    /// With what it has in common with every interface.
    #[error(transparent)]
    Net(NetError),
    /// A word that means nothing.
    #[error(
        "'{0}' is no option of a network: they are ip=, gateway=, dns=, mac=, mtu=, rate=, pps= and \
         offload="
    )]
    Unknown(String),
    /// Not what an interface can have.
    #[error("'{0}' is no address of a guest: give ADDRESS/BITS, such as 10.9.8.2/24, dhcp or none")]
    Address(String),
    /// Not an address that packets can be sent to.
    #[error("'{1}' is no address of one machine: give {0}= one such as 10.9.8.1")]
    Machine(&'static str, String),
    /// Nothing can be sent to it.
    #[error("{0} is not in the network of {1}: give a gateway that the guest reaches directly")]
    OutOfReach(Ipv4Addr, Ipv4Prefix),
    /// The guest itself.
    #[error("{0} is the guest's own address: give gateway= that of another machine")]
    OwnGateway(Ipv4Addr),
    /// The address comes with a gateway, or there is none.
    #[error("gateway= goes with ip=ADDRESS/BITS: give both, or leave '{0}' out")]
    LoneGateway(Ipv4Addr),
    /// Its addresses are kept apart.
    #[error("a bridge gives an instance its address: leave '{0}' out")]
    OptionOfBridge(String),
    /// passt is told what it has to know.
    #[error("user has addresses of its own: leave '{0}' out")]
    OptionOfUser(String),
}

impl From<NetError> for AddressedNetError {
    fn from(error: NetError) -> Self {
        match error {
            NetError::Unknown(word) => Self::Unknown(word),
            other => Self::Net(other),
        }
    }
}

impl FromStr for AddressedNet {
    type Err = AddressedNetError;

    fn from_str(text: &str) -> Result<Self, AddressedNetError> {
        let (mut address, mut gateway, mut dns) = (None, None, None);
        let mut rest = Vec::new();
        let mut options = Vec::new();
        for word in text.split(',') {
            let twice = match word.split_once('=') {
                Some(("ip", value)) => address.replace(parse_address(value)?).is_some(),
                Some(("gateway", value)) => gateway.replace(machine("gateway", value)?).is_some(),
                Some(("dns", value)) => dns.replace(machine("dns", value)?).is_some(),
                _ => {
                    rest.push(word);
                    continue;
                }
            };
            options.push(word);
            if twice {
                let name = word.split('=').next().unwrap_or_default();
                return Err(NetError::Twice(name.to_owned()).into());
            }
        }
        let net = parse_net(&rest.join(","))?;
        if let Some(option) = options.first() {
            match net.backend {
                NetBackend::Bridge(_) => {
                    return Err(AddressedNetError::OptionOfBridge((*option).into()));
                }
                NetBackend::Host => {
                    return Err(NetError::OptionOfHost((*option).into()).into());
                }
                NetBackend::None => return Err(NetError::OptionOfNone((*option).into()).into()),
                NetBackend::User => return Err(AddressedNetError::OptionOfUser((*option).into())),
                NetBackend::Tap(_) => {}
            }
        }
        match (address, gateway) {
            (Some(Address::Fixed(own)), Some(gateway)) => {
                if own.address == gateway {
                    return Err(AddressedNetError::OwnGateway(gateway));
                }
                if !own.is_beside(gateway) {
                    return Err(AddressedNetError::OutOfReach(gateway, own));
                }
            }
            (_, Some(gateway)) => return Err(AddressedNetError::LoneGateway(gateway)),
            _ => {}
        }
        Ok(Self { net, address, gateway, dns })
    }
}

/// What `duplex boot` has, and what only duplex's own init can make use of.
fn parse_net(text: &str) -> Result<Net, NetError> {
    let (first, options) = text.split_once(',').map_or((text, None), |(a, b)| (a, Some(b)));
    let backend = match first.split_once('=').unwrap_or((first, "")) {
        ("bridge", _) if first == "bridge" => NetBackend::Bridge(NetBackend::DEFAULT_BRIDGE.into()),
        ("bridge", name) if !name.is_empty() => NetBackend::Bridge(name.to_owned()),
        ("host", _) if first == "host" => {
            let none = |option: &str| Err(NetError::OptionOfHost(option.to_owned()));
            return options.map_or(Ok(Net::new(NetBackend::Host)), none);
        }
        ("tap", _) => return text.parse(),
        _ if ["user", "none"].contains(&first) => return text.parse(),
        _ => return Err(NetError::Network(first.to_owned())),
    };
    // It has the options of every other interface.
    let options = options.map(|options| format!(",{options}")).unwrap_or_default();
    Ok(Net { backend, ..format!("user{options}").parse()? })
}

impl Ipv4Prefix {
    /// Whether it is the address of one machine in its network.
    pub fn is_of_one_machine(self) -> bool {
        let hosts = u32::MAX.checked_shr(self.bits.into()).unwrap_or(0);
        let host = self.address.to_bits() & hosts;
        // Point-to-point links have no address for the network as a whole (RFC 3021).
        let plain = self.bits == 31 || host != 0 && host != hosts;
        (1..=31).contains(&self.bits) && plain && is_of_one_machine(self.address)
    }

    /// Whether an address is in the same network.
    fn is_beside(self, other: Ipv4Addr) -> bool {
        let difference = self.address.to_bits() ^ other.to_bits();
        difference.leading_zeros() >= self.bits.into()
    }
}

/// Whether packets on a network can be sent to, or come from, this address.
pub fn is_of_one_machine(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    first != 0 && !address.is_loopback() && !address.is_multicast() && first < 240
}

fn parse_address(text: &str) -> Result<Address, AddressedNetError> {
    let wrong = || AddressedNetError::Address(text.to_owned());
    match text {
        "dhcp" => return Ok(Address::Dhcp),
        "none" => return Ok(Address::None),
        _ => {}
    }
    let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
    let address = address.parse().map_err(|_| wrong())?;
    let bits = bits.parse().map_err(|_| wrong())?;
    let own = Ipv4Prefix { address, bits };
    own.is_of_one_machine().then_some(Address::Fixed(own)).ok_or_else(wrong)
}

fn machine(option: &'static str, text: &str) -> Result<Ipv4Addr, AddressedNetError> {
    let address = text.parse().ok().filter(|address| is_of_one_machine(*address));
    address.ok_or_else(|| AddressedNetError::Machine(option, text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wrong(text: &str) -> AddressedNetError {
        text.parse::<AddressedNet>().unwrap_err()
    }

    #[test]
    fn addresses_stand_among_the_other_options() {
        let full = "tap=tap0,ip=10.9.8.2/24,mtu=1400,gateway=10.9.8.1,dns=10.9.8.3";
        let address = Ipv4Prefix { address: Ipv4Addr::new(10, 9, 8, 2), bits: 24 };
        let expected = AddressedNet {
            net: "tap=tap0,mtu=1400".parse().unwrap(),
            address: Some(Address::Fixed(address)),
            gateway: Some(Ipv4Addr::new(10, 9, 8, 1)),
            dns: Some(Ipv4Addr::new(10, 9, 8, 3)),
        };
        assert_eq!(full.parse(), Ok(expected));
        let address = |text: &str| text.parse::<AddressedNet>().unwrap().address;
        assert_eq!(address("tap=tap0,ip=dhcp,dns=1.1.1.1"), Some(Address::Dhcp));
        assert_eq!(address("tap=tap0,ip=none"), Some(Address::None));
        assert_eq!(address("user"), None);
        let net = |text: &str| text.parse::<AddressedNet>().unwrap().net;
        assert_eq!(net("bridge").backend.to_string(), "bridge=duplex0");
        assert_eq!(net("bridge=dx,rate=1M").backend, NetBackend::Bridge("dx".into()));
        assert_eq!(net("bridge=dx,rate=1M").bytes_per_second, Some(1 << 20));
        assert_eq!(net("host"), Net::new(NetBackend::Host));
        assert!(matches!(address("tap=t,ip=10.0.0.4/31"), Some(Address::Fixed(_))));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for ip in [
            "",
            "10.9.8.2",
            "10.9.8.0/24",
            "10.9.8.255/24",
            "10.9.8.2/0",
            "10.9.8.2/32",
            "127.0.0.1/8",
            "224.0.0.1/8",
            "0.0.0.1/8",
            "fe80::1/64",
            "DHCP",
        ] {
            assert_eq!(wrong(&format!("tap=t,ip={ip}")), AddressedNetError::Address(ip.into()));
        }
        for gateway in ["", "x", "127.0.0.1", "255.255.255.255", "10.9.8"] {
            let error = AddressedNetError::Machine("gateway", gateway.into());
            assert_eq!(wrong(&format!("tap=t,ip=10.9.8.2/24,gateway={gateway}")), error);
        }
        let said = |text: &str| wrong(text).to_string();
        assert!(said("tap=t,gateway=10.9.8.1").contains("gateway= goes with ip="));
        assert!(said("tap=t,ip=dhcp,gateway=10.9.8.1").contains("gateway= goes with ip="));
        assert!(said("tap=t,ip=10.9.8.2/24,gateway=10.9.9.1").contains("not in the network of"));
        assert!(said("tap=t,ip=10.9.8.2/24,gateway=10.9.8.2").contains("own address"));
        assert!(said("tap=t,ip=dhcp,ip=dhcp").contains("'ip' is given twice"));
        assert!(said("user,ip=dhcp").contains("user has addresses of its own"));
        assert!(said("none,ip=dhcp").contains("none has no options"));
        assert!(said("tap=t,speed=1").contains("they are ip=, gateway="));
        assert!(said("ip=dhcp").contains("is no network"));
        assert!(said("bridge,ip=dhcp").contains("a bridge gives an instance its address"));
        assert!(said("bridge,fast=1").contains("'fast=1' is no option"));
        assert!(said("host,mtu=1500").contains("host has no options"));
        assert!(said("host,ip=dhcp").contains("host has no options"));
        for text in ["", "bridge=", "host=", "hosts", "veth", "user=x", "none=", "tap"] {
            let error = wrong(text).to_string();
            assert!(error.contains("is no n"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".*") {
            let _ = text.parse::<AddressedNet>();
            let _ = format!("tap=t,ip={text},gateway=10.0.0.1").parse::<AddressedNet>();
        }
    }
}
