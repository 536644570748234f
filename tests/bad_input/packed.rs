//! Compressed files that are damaged, dangerous, or hold no kernel.

use super::harness::{Case, Workbench};
use super::samples::packed::{
    FORMATS, bomb, gzip, lz4, xz, xz_huge_dictionary, zstd, zstd_huge_window,
};
use super::samples::{Elf, noise};

/// One more than a kernel may unpack to.
const BOMB_MIB: usize = 513;

pub(crate) fn cases(bench: &Workbench) -> Vec<Case> {
    let kernel = Elf::kernel(vec![0xF4; 0x1000]).build();
    let mut cases = Vec::new();
    for (format, pack) in FORMATS {
        let mut bad = |what: &str, content: Vec<u8>| {
            cases.push(bench.kernel(&format!("{format}-{what}"), content));
        };
        let magic = &pack(b"x")[..6];
        bad("magic-only", magic.to_vec());
        bad("garbage", [magic, &noise(65536)].concat());
        bad("bomb", bomb(format, BOMB_MIB));
        bad("text", pack(b"hello, this is no kernel\n"));
        bad("nothing", pack(b""));
        bad("program", pack(&std::fs::read("/bin/true").unwrap()));
    }
    cases.extend([
        bench.kernel("gzip-in-gzip", gzip(&gzip(&kernel))),
        bench.kernel("xz-in-zstd", zstd(&xz(&kernel))),
        bench.kernel("zstd-in-lz4", lz4(&zstd(&kernel))),
        bench.kernel("zstd-huge-window", zstd_huge_window()),
        bench.kernel("xz-huge-dictionary", xz_huge_dictionary()),
        bench.kernel("gzip-wrong-checksum", with_a_bit_flipped(gzip(&kernel), 8)),
        bench.kernel("zstd-wrong-checksum", with_a_bit_flipped(zstd(&kernel), 1)),
    ]);
    cases
}

/// Checksums stand at the end; gzip's is followed by the length (RFC 1952).
fn with_a_bit_flipped(mut file: Vec<u8>, from_end: usize) -> Vec<u8> {
    let at = file.len() - from_end;
    file[at] ^= 1;
    file
}
