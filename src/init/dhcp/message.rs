//! DHCP's messages (RFC 2131, section 2; options: RFC 2132). What a server sends is read once and
//! checked: whatever is not an answer to what was asked is nothing.

use std::net::Ipv4Addr;

use crate::workload::{Ipv4Prefix, is_of_one_machine};

/// Where the options begin, behind BOOTP's fields and the cookie.
const OPTIONS: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];

const BOOTREQUEST: u8 = 1;
const BOOTREPLY: u8 = 2;
const ETHERNET: u8 = 1;
/// The flag that asks for answers by broadcast.
const BROADCAST: u16 = 1 << 15;

// RFC 2132: what an option says.
const PAD: u8 = 0;
const SUBNET_MASK: u8 = 1;
const ROUTER: u8 = 3;
const NAME_SERVER: u8 = 6;
const HOST_NAME: u8 = 12;
const REQUESTED_ADDRESS: u8 = 50;
const MESSAGE_TYPE: u8 = 53;
const SERVER: u8 = 54;
const PARAMETERS: u8 = 55;
const CLIENT: u8 = 61;
const END: u8 = 255;

// RFC 2132, section 9.6.
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;
const NAK: u8 = 6;

/// Who asks.
pub(super) struct Asker<'a> {
    /// What answers are known by.
    pub(super) transaction: u32,
    /// The interface's address.
    pub(super) hardware: [u8; 6],
    /// What a server may call the guest.
    pub(super) hostname: &'a str,
}

/// What a server has answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// One has an address.
    Offer { address: Ipv4Addr, server: Ipv4Addr },
    /// It is the guest's.
    Lease(Lease),
    /// It is not.
    Refused,
}

/// What an interface was given.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::init) struct Lease {
    pub(in crate::init) own: Ipv4Prefix,
    pub(in crate::init) gateway: Option<Ipv4Addr>,
    pub(in crate::init) servers: Vec<Ipv4Addr>,
}

impl Asker<'_> {
    /// Asks who has an address.
    pub(super) fn discover(&self) -> Vec<u8> {
        self.message(DISCOVER, &[])
    }

    /// Asks for the address that a server has offered.
    pub(super) fn request(&self, offered: Ipv4Addr, server: Ipv4Addr) -> Vec<u8> {
        let chosen = [(REQUESTED_ADDRESS, offered.octets()), (SERVER, server.octets())];
        self.message(REQUEST, &chosen)
    }

    fn message(&self, kind: u8, chosen: &[(u8, [u8; 4])]) -> Vec<u8> {
        let mut message = vec![BOOTREQUEST, ETHERNET, 6, 0];
        message.extend(self.transaction.to_be_bytes());
        message.extend([0, 0]);
        message.extend(BROADCAST.to_be_bytes());
        // No address yet, and no relay.
        message.extend([0; 16]);
        message.extend(self.hardware);
        message.resize(OPTIONS - COOKIE.len(), 0);
        message.extend(COOKIE);
        let mut option = |kind: u8, value: &[u8]| {
            if let Ok(length) = u8::try_from(value.len()) {
                message.extend([kind, length]);
                message.extend(value);
            }
        };
        option(MESSAGE_TYPE, &[kind]);
        for (kind, address) in chosen {
            option(*kind, address);
        }
        option(CLIENT, &[&[ETHERNET], &self.hardware[..]].concat());
        option(HOST_NAME, self.hostname.as_bytes());
        option(PARAMETERS, &[SUBNET_MASK, ROUTER, NAME_SERVER]);
        message.push(END);
        message
    }

    /// Reads an answer to this asker.
    pub(super) fn parse(&self, message: &[u8]) -> Option<Answer> {
        let answers = message.get(..3)? == [BOOTREPLY, ETHERNET, 6]
            && message.get(4..8)? == self.transaction.to_be_bytes()
            && message.get(28..34)? == self.hardware
            && message.get(OPTIONS - COOKIE.len()..OPTIONS)? == COOKIE;
        let options = message.get(OPTIONS..).filter(|_| answers)?;
        let address = addresses(message.get(16..20)?).next()?;
        match option(options, MESSAGE_TYPE)? {
            [OFFER] => {
                let server = addresses(option(options, SERVER)?).next()?;
                let usable = is_of_one_machine(address) && is_of_one_machine(server);
                usable.then_some(Answer::Offer { address, server })
            }
            [ACK] => lease(address, options).map(Answer::Lease),
            [NAK] => Some(Answer::Refused),
            _ => None,
        }
    }
}

fn lease(address: Ipv4Addr, options: &[u8]) -> Option<Lease> {
    let mask = option(options, SUBNET_MASK).and_then(|value| addresses(value).next())?.to_bits();
    // Ones, then zeroes.
    let bits = u8::try_from(mask.leading_ones())
        .ok()
        .filter(|_| mask.count_zeros() == mask.trailing_zeros())?;
    let own = Ipv4Prefix { address, bits };
    let machines = |kind| {
        addresses(option(options, kind).unwrap_or_default()).filter(|a| is_of_one_machine(*a))
    };
    let gateway = machines(ROUTER).find(|gateway| *gateway != address);
    let lease = Lease { own, gateway, servers: machines(NAME_SERVER).collect() };
    own.is_of_one_machine().then_some(lease)
}

/// The value of the first option of this kind.
fn option(mut options: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        match options {
            [PAD, rest @ ..] => options = rest,
            [END, ..] | [] => return None,
            [kind, length, rest @ ..] => {
                let (value, after) = rest.split_at_checked(usize::from(*length))?;
                if *kind == wanted {
                    return Some(value);
                }
                options = after;
            }
            [_] => return None,
        }
    }
}

fn addresses(value: &[u8]) -> impl Iterator<Item = Ipv4Addr> {
    value.as_chunks::<4>().0.iter().map(|octets| Ipv4Addr::from(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ASKER: Asker<'_> =
        Asker { transaction: 0x0102_0304, hardware: [2, 0, 0, 0, 0, 9], hostname: "web" };

    /// What a server answers to the asker's message.
    fn answer(kind: u8, address: [u8; 4], options: &[(u8, &[u8])]) -> Vec<u8> {
        let mut message = ASKER.discover();
        message.truncate(OPTIONS);
        message[0] = BOOTREPLY;
        message[16..20].copy_from_slice(&address);
        message.extend([MESSAGE_TYPE, 1, kind, PAD]);
        for (kind, value) in options {
            message.extend([*kind, u8::try_from(value.len()).unwrap()]);
            message.extend(*value);
        }
        message.push(END);
        message
    }

    #[test]
    fn what_is_asked_is_as_the_specification_has_it() {
        let message = ASKER.request(Ipv4Addr::new(10, 9, 8, 2), Ipv4Addr::new(10, 9, 8, 1));
        assert_eq!(message[..12], [1, 1, 6, 0, 1, 2, 3, 4, 0, 0, 0x80, 0]);
        assert_eq!(message[28..34], ASKER.hardware);
        let options = &message[OPTIONS..];
        assert_eq!(option(options, MESSAGE_TYPE), Some(&[REQUEST][..]));
        assert_eq!(option(options, REQUESTED_ADDRESS), Some(&[10, 9, 8, 2][..]));
        assert_eq!(option(options, SERVER), Some(&[10, 9, 8, 1][..]));
        assert_eq!(option(options, HOST_NAME), Some(&b"web"[..]));
        assert_eq!(option(options, ROUTER), None);
    }

    #[test]
    fn offers_and_leases_are_read() {
        let (address, server) = (Ipv4Addr::new(10, 9, 8, 2), Ipv4Addr::new(10, 9, 8, 1));
        let offer = answer(OFFER, [10, 9, 8, 2], &[(SERVER, &[10, 9, 8, 1])]);
        assert_eq!(ASKER.parse(&offer), Some(Answer::Offer { address, server }));
        let own = Ipv4Prefix { address, bits: 24 };
        let ack = answer(
            ACK,
            [10, 9, 8, 2],
            &[
                (SUBNET_MASK, &[255, 255, 255, 0]),
                (ROUTER, &[10, 9, 8, 1]),
                (NAME_SERVER, &[127, 0, 0, 1, 10, 9, 8, 3, 10]),
            ],
        );
        let servers = vec![Ipv4Addr::new(10, 9, 8, 3)];
        let lease = Lease { own, gateway: Some(server), servers };
        assert_eq!(ASKER.parse(&ack), Some(Answer::Lease(lease)));
        assert_eq!(ASKER.parse(&answer(NAK, [0; 4], &[])), Some(Answer::Refused));
    }

    #[test]
    fn what_lies_is_nothing() {
        let mask: (u8, &[u8]) = (SUBNET_MASK, &[255, 255, 255, 0]);
        for message in [
            answer(ACK, [127, 0, 0, 1], &[mask]),
            answer(ACK, [10, 9, 8, 0], &[mask]),
            answer(ACK, [10, 9, 8, 2], &[]),
            answer(ACK, [10, 9, 8, 2], &[(SUBNET_MASK, &[255, 0, 255, 0])]),
            answer(ACK, [10, 9, 8, 2], &[(SUBNET_MASK, &[0, 0, 0, 0])]),
            answer(OFFER, [10, 9, 8, 2], &[]),
            answer(OFFER, [10, 9, 8, 2], &[(SERVER, &[10, 9, 8])]),
            answer(9, [10, 9, 8, 2], &[mask]),
        ] {
            assert_eq!(ASKER.parse(&message), None, "{message:?}");
        }
        let good = answer(ACK, [10, 9, 8, 2], &[mask]);
        assert!(ASKER.parse(&good).is_some());
        // Somebody else's, or no message at all.
        for at in [0, 1, 2, 4, 28, 236] {
            let mut other = good.clone();
            other[at] ^= 0xFF;
            assert_eq!(ASKER.parse(&other), None, "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(
            options: Vec<u8>, address: [u8; 4], cut in 0..OPTIONS + 64,
        ) {
            let mut message = answer(ACK, address, &[]);
            message.truncate(OPTIONS);
            message.extend(options);
            if let Some(Answer::Lease(lease)) = ASKER.parse(&message) {
                prop_assert!(lease.own.is_of_one_machine());
            }
            message.truncate(cut);
            let _ = ASKER.parse(&message);
        }
    }
}
