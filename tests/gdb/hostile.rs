//! What no debugger says.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::common::has_kvm;
use crate::lessons::Waiting;

#[test]
fn a_client_that_is_no_debugger_harms_nothing() {
    if !has_kvm() {
        return;
    }
    let mut guest = Waiting::start("halt");
    let long = [b"$".as_slice(), &[b'm'; 100_000], b"#00"].concat();
    for packet in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"$#00",
        b"$m0,ffffffffffffffff#00",
        b"$Z0,0,0#1a$Z2,ffffffffffffffff,ffffffff#00",
        b"$G00#d7$H g-1#00",
        b"\x03\x03\x03",
        b"+-+-}}}*#$$",
        &long,
    ] {
        let mut stream = UnixStream::connect(&guest.socket).unwrap();
        // The stub may hang up in the middle of it.
        let _ = stream.write_all(packet);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        // The first that goes lets the guest run to its end.
        if guest.process.ends_within(std::time::Duration::ZERO) {
            break;
        }
    }
    assert_eq!(guest.process.end().code(), Some(0));
}
