//! The header before each packet (virtio 1.2, section 5.1.6): what the sender left to the receiver,
//! checksums and segmentation. A guest's may lie; what is passed on is what was understood of it.

use virtio_bindings::virtio_net::{
    VIRTIO_NET_F_CSUM, VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_ECN, VIRTIO_NET_F_GUEST_TSO4,
    VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_HOST_ECN, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6,
};

use crate::vm::devices::virtio::queue::has;

/// Its size: that of VIRTIO_NET_F_MRG_RXBUF, which VIRTIO_F_VERSION_1 always has.
pub(super) const SIZE: usize = 12;
/// Where `num_buffers` is.
const NUM_BUFFERS: usize = 10;

const NEEDS_CSUM: u8 = 1;
const DATA_VALID: u8 = 2;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_ECN: u8 = 0x80;

/// What a receiver has said that it can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// It computes checksums.
    pub checksum: bool,
    /// It takes TCP over IPv4 in large segments.
    pub tso4: bool,
    /// It takes TCP over IPv6 in large segments.
    pub tso6: bool,
    /// It takes segments with congestion marks.
    pub ecn: bool,
}

impl Offloads {
    /// What the device does for the driver.
    pub(super) fn of_device(features: u64) -> Offloads {
        let bits = [
            VIRTIO_NET_F_CSUM,
            VIRTIO_NET_F_HOST_TSO4,
            VIRTIO_NET_F_HOST_TSO6,
            VIRTIO_NET_F_HOST_ECN,
        ];
        Offloads::from_bits(features, bits)
    }

    /// What the driver does for the device.
    pub(super) fn of_driver(features: u64) -> Offloads {
        let bits = [
            VIRTIO_NET_F_GUEST_CSUM,
            VIRTIO_NET_F_GUEST_TSO4,
            VIRTIO_NET_F_GUEST_TSO6,
            VIRTIO_NET_F_GUEST_ECN,
        ];
        Offloads::from_bits(features, bits)
    }

    /// A driver must not accept one without those that it builds on (section 5.1.3.1); what one
    /// did nevertheless is not used.
    fn from_bits(features: u64, bits: [u32; 4]) -> Offloads {
        let [checksum, tso4, tso6, ecn] = bits.map(|bit| has(features, bit));
        let (tso4, tso6) = (checksum && tso4, checksum && tso6);
        Offloads { checksum, tso4, tso6, ecn: ecn && (tso4 || tso6) }
    }

    /// Whether packets may be larger than the MTU.
    pub(super) fn segments(self) -> bool {
        self.tso4 || self.tso6
    }
}

/// A header, as it lies in memory: little-endian.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header(pub [u8; SIZE]);

impl Header {
    fn u16_at(&self, offset: usize) -> u16 {
        let bytes = self.0.get(offset..).and_then(|rest| rest.first_chunk());
        u16::from_le_bytes(*bytes.unwrap_or(&[0; 2]))
    }

    /// Whether the packet is more than one segment.
    pub(super) fn is_segmented(&self) -> bool {
        let [_, gso_type, ..] = self.0;
        gso_type & !GSO_ECN != GSO_NONE
    }

    /// The header of a frame of `length` bytes for a receiver with these offloads, with nothing in
    /// it that was not checked. `None` where it lies or asks for what was not agreed on.
    pub(super) fn checked(&self, length: usize, offloads: Offloads) -> Option<Header> {
        let [flags, gso_type, ..] = self.0;
        let mut checked = Header::default();
        if flags & NEEDS_CSUM != 0 {
            let (start, offset) = (self.u16_at(6), self.u16_at(8));
            let end = usize::from(start) + usize::from(offset) + 2;
            if !offloads.checksum || end > length {
                return None;
            }
            checked.put(0, &[NEEDS_CSUM]);
            checked.put(6, &start.to_le_bytes());
            checked.put(8, &offset.to_le_bytes());
        }
        let allowed = match gso_type & !GSO_ECN {
            GSO_NONE => return (gso_type == GSO_NONE).then_some(checked),
            GSO_TCPV4 => offloads.tso4,
            GSO_TCPV6 => offloads.tso6,
            _ => false,
        };
        let ecn = gso_type & GSO_ECN == 0 || offloads.ecn;
        let (header_length, size) = (self.u16_at(2), self.u16_at(4));
        // Segments get checksums of their own: without leave to compute them they cannot be made.
        let cuts = flags & NEEDS_CSUM != 0 && size > 0 && usize::from(header_length) <= length;
        if !(allowed && ecn && cuts) {
            return None;
        }
        checked.put(1, &[gso_type]);
        checked.put(2, &header_length.to_le_bytes());
        checked.put(4, &size.to_le_bytes());
        Some(checked)
    }

    /// The same for what comes from the host, which may also say that it has checked the checksum: a
    /// guest's word for that would not be taken.
    pub(super) fn checked_from_host(&self, length: usize, offloads: Offloads) -> Option<Header> {
        let mut checked = self.checked(length, offloads)?;
        let [flags, ..] = self.0;
        if flags & (DATA_VALID | NEEDS_CSUM) == DATA_VALID && offloads.checksum {
            checked.put(0, &[DATA_VALID]);
        }
        Some(checked)
    }

    /// Says over how many chains the packet is spread.
    pub(super) fn set_buffers(&mut self, count: u16) {
        self.put(NUM_BUFFERS, &count.to_le_bytes());
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        for (to, from) in self.0.iter_mut().skip(offset).zip(bytes) {
            *to = *from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: Offloads = Offloads { checksum: true, tso4: true, tso6: true, ecn: true };

    fn header(flags: u8, gso: u8, lens: [u16; 4]) -> Header {
        let mut header = Header::default();
        header.put(0, &[flags, gso]);
        for (at, len) in lens.into_iter().enumerate() {
            header.put(2 + 2 * at, &len.to_le_bytes());
        }
        header
    }

    #[test]
    fn what_was_agreed_on_passes_unchanged() {
        let plain = Header::default();
        assert_eq!(plain.checked(14, Offloads::default()), Some(plain));
        let checksum = header(1, 0, [0, 0, 34, 16]);
        assert_eq!(checksum.checked(52, ALL), Some(checksum));
        for gso in [1, 4, 0x81, 0x84] {
            let segmented = header(1, gso, [54, 1448, 34, 16]);
            assert_eq!(segmented.checked(3000, ALL), Some(segmented));
            assert!(segmented.is_segmented());
        }
    }

    #[test]
    fn lies_are_dropped() {
        for lie in [
            header(1, 0, [0, 0, 34, 17]),
            header(1, 0, [0, 0, u16::MAX, u16::MAX]),
            header(1, 1, [54, 0, 34, 16]),
            header(1, 1, [53, 100, 34, 16]),
            header(0, 1, [20, 100, 34, 16]),
            header(1, 3, [20, 100, 34, 16]),
            header(1, 5, [20, 100, 34, 16]),
            header(0, 0x80, [0; 4]),
        ] {
            assert_eq!(lie.checked(52, ALL), None, "{lie:?}");
        }
    }

    #[test]
    fn what_was_not_agreed_on_is_dropped() {
        let some = |change: fn(&mut Offloads)| {
            let mut offloads = ALL;
            change(&mut offloads);
            offloads
        };
        let at = [54, 1448, 34, 16];
        assert_eq!(header(1, 0, at).checked(3000, some(|o| o.checksum = false)), None);
        assert_eq!(header(1, 1, at).checked(3000, some(|o| o.tso4 = false)), None);
        assert_eq!(header(1, 4, at).checked(3000, some(|o| o.tso6 = false)), None);
        assert_eq!(header(1, 0x81, at).checked(3000, some(|o| o.ecn = false)), None);
    }

    #[test]
    fn offloads_without_what_they_build_on_are_not_used() {
        let tso = 1 << VIRTIO_NET_F_HOST_TSO4 | 1 << VIRTIO_NET_F_HOST_ECN;
        assert_eq!(Offloads::of_device(tso), Offloads::default());
        assert!(Offloads::of_device(tso | 1 << VIRTIO_NET_F_CSUM).ecn);
        assert_eq!(Offloads::of_driver(u64::MAX), ALL);
    }

    proptest! {
        #[test]
        fn whatever_passes_is_within_the_frame(bytes: [u8; 12], length in 14_usize..70_000) {
            if let Some(checked) = Header(bytes).checked(length, ALL) {
                prop_assert!(usize::from(checked.u16_at(6)) + usize::from(checked.u16_at(8)) < length);
                prop_assert!(usize::from(checked.u16_at(2)) <= length);
                prop_assert_eq!(checked.u16_at(NUM_BUFFERS), 0);
            }
        }
    }
}
