//! A network interface for a mock driver: on a socket whose other end the test has.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use duplex::vm::devices::virtio::net::link::Link;
use duplex::vm::devices::virtio::net::stream::Stream;
use duplex::vm::devices::virtio::net::{Counters, Net, Settings};
use duplex::workload::{MacAddress, Offload};

pub(crate) const MAC: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];
pub(crate) const RX: usize = 0;
pub(crate) const TX: usize = 1;
pub(crate) const MERGES: u64 = 1 << 15;
/// The header before each frame.
pub(crate) const HEADER: u32 = 12;

pub(crate) fn settings() -> Settings {
    Settings {
        name: "test".into(),
        mac: MacAddress(MAC),
        mtu: 1500,
        bytes_per_second: None,
        packets_per_second: None,
        offload: Offload::On,
    }
}

pub(crate) fn on_link(link: impl Link + 'static, settings: Settings) -> (Box<Net>, Arc<Counters>) {
    let net = Net::new(settings, 0, Box::new(link)).unwrap();
    let counters = net.counters();
    (Box::new(net), counters)
}

/// The other end: frames with their lengths before them.
pub(crate) struct Peer(pub(crate) UnixStream);

impl Peer {
    pub(crate) fn pair() -> (Stream, Peer) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        (Stream::new(ours.into()).unwrap(), Peer(theirs))
    }

    pub(crate) fn send(&mut self, frame: &[u8]) {
        let mut bytes = u32::try_from(frame.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(frame);
        self.0.write_all(&bytes).unwrap();
    }

    pub(crate) fn receive(&mut self) -> Vec<u8> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
        self.0.read_exact(&mut frame).unwrap();
        frame
    }
}

/// A frame of so many bytes that tell where they belong.
pub(crate) fn frame(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at * 7 + usize::from(seed)) % 251).unwrap()).collect()
}
