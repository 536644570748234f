//! The addresses of a network: the bridge has the first one, and is the guests' gateway.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use thiserror::Error;

use crate::workload::Ipv4Prefix;

/// The longest and the shortest prefix that leaves room for a gateway and a guest, and that a host can
/// want.
const BITS: std::ops::RangeInclusive<u8> = 8..=30;

/// What is wrong with the text of one.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "'{0}' is no private network of IPv4 addresses: give ADDRESS/BITS, with 8 to 30 bits, such as 10.87.0.0/24"
)]
pub struct SubnetError(String);

/// A network of IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    first: u32,
    bits: u8,
}

impl Subnet {
    /// The one that an address with a prefix of so many bits is in.
    pub(super) fn of_gateway(address: Ipv4Addr, bits: u8) -> Subnet {
        let bits = bits.min(32);
        Subnet { first: address.to_bits() & mask(bits), bits }
    }

    /// How many bits its prefix has.
    pub fn bits(self) -> u8 {
        self.bits
    }

    /// The host's address.
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first.saturating_add(1))
    }

    /// The first address for guests.
    pub fn first_guest(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first.saturating_add(2))
    }

    /// The address for guest number `number`, if it has so many.
    pub(super) fn guest(self, number: u16) -> Option<Ipv4Prefix> {
        let bits = self.first_guest().to_bits().checked_add(number.into())?;
        let is_in = bits < self.broadcast().to_bits();
        is_in.then(|| Ipv4Prefix { address: Ipv4Addr::from_bits(bits), bits: self.bits })
    }

    fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first | !mask(self.bits))
    }

    /// Whether some address is in both.
    pub(super) fn overlaps(self, other: Subnet) -> bool {
        let common = mask(self.bits.min(other.bits));
        self.first & common == other.first & common
    }

    /// The networks that are tried where none is asked for.
    pub(super) fn usual() -> impl Iterator<Item = Subnet> {
        (0..=255).map(|third| Subnet::of_gateway(Ipv4Addr::new(10, 87, third, 0), 24))
    }
}

/// The bits of a prefix.
fn mask(bits: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0)
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from_bits(self.first), self.bits)
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Subnet, SubnetError> {
        let wrong = || SubnetError(text.to_owned());
        let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
        let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
        let bits: u8 = bits.parse().ok().filter(|bits| BITS.contains(bits)).ok_or_else(wrong)?;
        let subnet = Subnet::of_gateway(address, bits);
        // An address within it may be meant as the gateway's; nothing says so.
        let whole = subnet.first == address.to_bits() && address.is_private();
        whole.then_some(subnet).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_a_gateway_and_guests() {
        let subnet: Subnet = "192.168.7.0/24".parse().unwrap();
        assert_eq!(subnet.gateway(), Ipv4Addr::new(192, 168, 7, 1));
        assert_eq!(subnet.first_guest(), Ipv4Addr::new(192, 168, 7, 2));
        assert_eq!(subnet.broadcast(), Ipv4Addr::new(192, 168, 7, 255));
        assert_eq!(subnet.to_string(), "192.168.7.0/24");
        let least: Subnet = "10.0.0.4/30".parse().unwrap();
        assert_eq!(least.first_guest(), Ipv4Addr::new(10, 0, 0, 6));
    }

    #[test]
    fn each_guest_has_an_address_of_its_own() {
        let subnet: Subnet = "10.87.0.0/24".parse().unwrap();
        assert_eq!(subnet.guest(0).unwrap().to_string(), "10.87.0.2/24");
        assert_eq!(subnet.guest(99).unwrap().to_string(), "10.87.0.101/24");
        assert_eq!(subnet.guest(252).unwrap().to_string(), "10.87.0.254/24");
        assert_eq!(subnet.guest(253), None);
        assert_eq!("10.0.0.4/30".parse::<Subnet>().unwrap().guest(1), None);
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in
            ["", "10.0.0.0", "10.0.0.1/24", "10.0.0.0/31", "10.0.0.0/7", "8.8.8.0/24", "fe80::/64"]
        {
            assert_eq!(text.parse::<Subnet>(), Err(SubnetError(text.into())));
        }
    }

    #[test]
    fn networks_overlap_where_one_holds_the_other() {
        let subnet = |text: &str| text.parse::<Subnet>().unwrap();
        assert!(subnet("10.0.0.0/8").overlaps(subnet("10.87.3.0/24")));
        assert!(subnet("10.87.3.0/24").overlaps(subnet("10.0.0.0/8")));
        assert!(!subnet("10.87.3.0/24").overlaps(subnet("10.87.4.0/24")));
        // A default route is no address; an interface may have one of 0 bits nevertheless.
        assert!(Subnet::of_gateway(Ipv4Addr::UNSPECIFIED, 0).overlaps(subnet("10.87.4.0/24")));
    }
}
