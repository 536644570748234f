//! The network device on passt, in a network namespace of the test's own with a route to nowhere.

use duplex::vm::devices::virtio::net::passt::{self, PasstError};
use vm_memory::{Bytes, GuestAddress};

use crate::common::say;
use crate::driver::{ARENA, Driver, WRITE, desc};
use crate::nic::{HEADER, MAC, RX, TX, on_link, settings};
use crate::taps::{in_namespace, ip};

const GATEWAY: [u8; 4] = [10, 9, 8, 1];

/// Whether passt is there; says so if it is not.
fn has_passt() -> bool {
    let found = duplex::host::installed_program("passt").is_some();
    if !found {
        say("SKIPPED: passt is not installed");
    }
    found
}

/// Who has the gateway's address? The guest does not know its own yet.
fn arp_request() -> Vec<u8> {
    let mut packet = vec![0; usize::try_from(HEADER).unwrap()];
    packet.extend([0xFF; 6]);
    packet.extend(MAC);
    packet.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    packet.extend(MAC);
    packet.extend([10, 9, 8, 9]);
    packet.extend([0; 6]);
    packet.extend(GATEWAY);
    packet
}

#[test]
fn passt_answers_for_the_gateway() {
    in_namespace(|| {
        if !has_passt() {
            return;
        }
        ip("link set lo up");
        ip("link add up0 type veth peer name up1");
        ip("addr add 10.9.8.2/24 dev up0");
        ip("link set up0 up");
        ip("link set up1 up");
        ip("route add default via 10.9.8.1");
        let (stream, mtu) = passt::start(None, None, &[]).unwrap();
        assert_eq!(mtu, 65520);
        let (device, counters) = on_link(stream, settings());
        let mut driver = Driver::ready(device, u64::MAX, 64);
        for head in 0..32 {
            let at = ARENA + 0x10_0000 + u64::from(head) * 0x1_0000;
            driver.send(RX, head, &[desc(at, 4096, WRITE, 0)]);
        }
        let request = arp_request();
        driver.memory.write_slice(&request, GuestAddress(ARENA)).unwrap();
        driver.send(TX, 0, &[desc(ARENA, u32::try_from(request.len()).unwrap(), 0, 0)]);
        assert_eq!(driver.wait_used(TX), (0, 0));
        // It may have other things to say first.
        loop {
            let (head, _) = driver.wait_used(RX);
            let mut frame = [0; 42];
            let at = ARENA + 0x10_0000 + u64::from(head) * 0x1_0000 + u64::from(HEADER);
            driver.memory.read_slice(&mut frame, GuestAddress(at)).unwrap();
            if frame[12..14] == [8, 6] {
                assert_eq!(frame[20..22], [0, 2], "an answer");
                assert_eq!(frame[28..32], GATEWAY);
                break;
            }
        }
        assert_eq!(counters.sent.drops(), 0);
    });
}

#[test]
fn without_a_route_passt_says_what_it_wants() {
    in_namespace(|| {
        if !has_passt() {
            return;
        }
        let error = passt::start(None, None, &[]).map(|_| ()).unwrap_err();
        assert!(matches!(error, PasstError::NoRoute(_)), "{error}");
        assert!(error.to_string().contains("default route"), "{error}");
    });
}
