//! The network device's features and configuration space (virtio 1.2, sections 5.1.3 and 5.1.4).

use virtio_bindings::virtio_net::{
    VIRTIO_NET_F_CSUM, VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_ECN, VIRTIO_NET_F_GUEST_TSO4,
    VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_HOST_ECN, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6,
    VIRTIO_NET_F_MAC, VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_F_MTU, VIRTIO_NET_F_STATUS,
    VIRTIO_NET_S_LINK_UP,
};

use crate::workload::{MacAddress, Offload};

/// The features, with these offloads.
pub(super) fn features(offload: Offload) -> u64 {
    let always = [VIRTIO_NET_F_MAC, VIRTIO_NET_F_MTU, VIRTIO_NET_F_STATUS, VIRTIO_NET_F_MRG_RXBUF];
    let sends =
        [VIRTIO_NET_F_CSUM, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_HOST_ECN];
    let receives = [
        VIRTIO_NET_F_GUEST_CSUM,
        VIRTIO_NET_F_GUEST_TSO4,
        VIRTIO_NET_F_GUEST_TSO6,
        VIRTIO_NET_F_GUEST_ECN,
    ];
    let sends = sends.iter().filter(|_| offload.sends());
    let receives = receives.iter().filter(|_| offload.receives());
    always.iter().chain(sends).chain(receives).fold(0_u64, |all, bit| all | 1 << bit)
}

/// The configuration space: address, status, number of queue pairs (zero: not offered), MTU.
pub(super) fn space(mac: MacAddress, mtu: u16, up: bool) -> [u8; 12] {
    let [a, b, c, d, e, f] = mac.0;
    let status = if up { VIRTIO_NET_S_LINK_UP } else { 0 };
    let [low, high] = u16::try_from(status).unwrap_or(0).to_le_bytes();
    let [mtu_low, mtu_high] = mtu.to_le_bytes();
    [a, b, c, d, e, f, low, high, 0, 0, mtu_low, mtu_high]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_has_its_own_features() {
        let (off, on) = (features(Offload::Off), features(Offload::On));
        let (rx, tx) = (features(Offload::Receive), features(Offload::Send));
        assert_eq!((rx & tx, rx | tx), (off, on));
        assert_eq!(rx >> VIRTIO_NET_F_GUEST_CSUM & 1, 1);
        assert_eq!(tx >> VIRTIO_NET_F_CSUM & 1, 1);
        assert_eq!(off >> VIRTIO_NET_F_MRG_RXBUF & 1, 1);
    }
}
