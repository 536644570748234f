//! How much an interface may send: a token bucket, tc-tbf(8).

use std::io;

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcHeader, TcMessage, TcOption};
use nix::errno::Errno;

use super::netlink::Netlink;

// linux/pkt_sched.h.
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
/// The rate is of whole Ethernet frames (TC_LINKLAYER_ETHERNET), and no table of times goes with it.
const LINK_LAYER_ETHERNET: u8 = 1;
/// The discipline that everything an interface sends goes through (TC_H_ROOT).
const ROOT: u32 = u32::MAX;

/// The least that may be sent at once, and wait: some packets of the usual size, so that a connection
/// is not slowed by losing what it sends in one go.
const LEAST: u64 = 16 << 10;
/// The most that may be sent at once.
const MOST: u64 = 4 << 20;

/// Lets an interface send so many bytes a second. A burst is what passes in 10 ms; what comes faster
/// waits for up to 50 ms, and is dropped then.
///
/// # Errors
/// The kernel's: among them that it has no such discipline (`ENOENT`).
pub(crate) fn limit(netlink: &Netlink, index: u32, bytes_per_second: u64) -> io::Result<()> {
    let mut message = TcMessage::default();
    message.header = TcHeader {
        index: i32::try_from(index).map_err(|_| Errno::ERANGE)?,
        parent: TcHandle::from(ROOT),
        ..TcHeader::default()
    };
    message.attributes =
        vec![TcAttribute::Kind("tbf".into()), TcAttribute::Options(options(bytes_per_second))];
    let flags = NLM_F_CREATE | NLM_F_REPLACE;
    netlink.request(RouteNetlinkMessage::NewQueueDiscipline(message), flags)
}

fn options(rate: u64) -> Vec<TcOption> {
    let burst = (rate / 100).clamp(LEAST, MOST);
    let queue = burst.saturating_add((rate / 20).max(LEAST));
    let at_most = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let option = |kind, value: &[u8]| TcOption::Other(DefaultNla::new(kind, value.to_vec()));
    vec![
        option(TCA_TBF_PARMS, &parameters(at_most(rate), at_most(queue))),
        option(TCA_TBF_RATE64, &rate.to_ne_bytes()),
        option(TCA_TBF_BURST, &at_most(burst).to_ne_bytes()),
    ]
}

/// `struct tc_tbf_qopt`: two times `struct tc_ratespec`, the second for a peak that there is not; the
/// longest queue in bytes; a burst and an MTU, which go with tables only.
fn parameters(rate: u32, queue: u32) -> [u8; 36] {
    let mut bytes = [0; 36];
    let [_, link_layer, ..] = &mut bytes;
    *link_layer = LINK_LAYER_ETHERNET;
    for (at, value) in [(8, rate), (24, queue)] {
        for (to, from) in bytes.iter_mut().skip(at).zip(value.to_ne_bytes()) {
            *to = from;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_and_the_queue_are_where_the_kernel_looks() {
        let bytes = parameters(0x0102_0304, 0x0506_0708);
        assert_eq!(bytes[..8], [0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[8..12], 0x0102_0304_u32.to_ne_bytes());
        assert_eq!(bytes[12..24], [0; 12]);
        assert_eq!(bytes[24..28], 0x0506_0708_u32.to_ne_bytes());
        assert_eq!(bytes[28..], [0; 8]);
    }

    #[test]
    fn any_rate_has_a_burst_and_a_queue() {
        for rate in [1, 1 << 20, u64::from(u32::MAX) + 1, u64::MAX] {
            assert_eq!(options(rate).len(), 3);
        }
    }
}
