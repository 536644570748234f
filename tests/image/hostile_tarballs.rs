//! Tarballs that are made to do harm, or were damaged.

use crate::samples::packed::{gzip, xz, zstd};
use crate::tarball::{BLOCK, Tarball, fill};
use crate::yard::Yard;

fn tar() -> Tarball {
    Tarball::new().directory("etc/").file("etc/first", b"1")
}

#[test]
fn names_that_lead_out_are_refused() {
    let yard = Yard::new();
    let target = format!("{}/evil", yard.canary());
    let out = |archive: Tarball| archive.end();
    let pax = |path: &[u8]| tar().pax(&[("path", path)]).file("x", b"evil").end();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("upwards", out(tar().file("../../../../canary/evil", b"")), "leads upwards"),
        ("upwards, later", out(tar().file("etc/../../../../../canary/evil", b"")), "leads upwards"),
        ("upwards, at the end", out(tar().directory("etc/..")), "leads upwards"),
        ("absolute", out(tar().long_name(&target).file("x", b"")), "is absolute"),
        ("absolute directory", out(tar().directory("/etc/")), "is absolute"),
        ("by extended header", pax(b"../evil"), "leads upwards"),
        ("absolute by extended header", pax(target.as_bytes()), "is absolute"),
        ("by long name", out(tar().long_name("a/../../evil").file("x", b"")), "leads upwards"),
        ("NUL", pax(b"good\0/../evil"), "NUL"),
        ("empty", pax(b""), "is empty"),
        ("huge name", pax(&[b'x'; 256]), "more than 255 bytes"),
        ("huge path", pax(&b"x/".repeat(2100)), "1 to 4096 bytes"),
        ("deep", pax(&[&*b"x/".repeat(300), b"x"].concat()), "256 directories deep"),
        ("the root as a file", out(tar().file(".", b"")), "the root is a directory"),
        ("the root as a symbolic link", out(tar().symlink("./", &yard.canary())), "the root is a"),
        ("terminal escapes", pax(b"\x1b[2J/../\x07"), "leads upwards"),
    ];
    for (what, bytes, reason) in cases {
        yard.refuses_bytes(what, &bytes, reason);
    }
}

#[test]
fn links_that_lead_out_are_refused() {
    let yard = Yard::new();
    let canary = yard.canary();
    let up = format!("{}{}", "../".repeat(20), &canary[1..]);
    let nowhere = "leads nowhere in the image";
    let through = |target: &str| tar().symlink("way", target).file("way/evil", b"evil").end();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("through an absolute link", through(&canary), nowhere),
        ("through a relative link", through(&up), nowhere),
        ("a directory through a link", tar().symlink("w", &canary).directory("w/d").end(), nowhere),
        (
            "through two links",
            tar().symlink("a", "b").symlink("b", &canary).file("a/evil", b"").end(),
            nowhere,
        ),
        (
            "a directory that becomes a link",
            tar().directory("d").file("d/a", b"").symlink("d", &canary).file("d/evil", b"").end(),
            nowhere,
        ),
        (
            "a circle of links",
            tar().symlink("a", "b").symlink("b", "a").file("a/x", b"").end(),
            "symbolic link is on its way",
        ),
        ("through /proc", through("/proc/self/root"), nowhere),
        (
            "a hard link upwards",
            tar().hard_link("h", "../../../../canary/secret").end(),
            "leads upwards",
        ),
        (
            "a hard link to an absolute path",
            tar().hard_link("h", &format!("{canary}/secret")).end(),
            "is absolute",
        ),
        (
            "a hard link through a symbolic link",
            tar().symlink("way", &canary).hard_link("h", "way/secret").end(),
            "symbolic link is on its way",
        ),
        (
            "a hard link through a symbolic link that stays below",
            tar().symlink("way", "etc").hard_link("h", "way/first").end(),
            "symbolic link is on its way",
        ),
        ("a hard link to nothing", tar().hard_link("h", "nothing").end(), "not there"),
        ("a hard link to the root", tar().hard_link("h", ".").end(), "to the root"),
        ("a hard link to a directory", tar().hard_link("h", "etc").end(), "to a directory"),
        ("a hard link to itself", tar().hard_link("h", "h").end(), "not there"),
        ("a file as a directory", tar().file("etc/first/x", b"").end(), "no directory"),
        ("a link to the empty name", tar().symlink("s", "").end(), "1 to 4096 bytes"),
    ];
    for (what, bytes, reason) in cases {
        yard.refuses_bytes(what, &bytes, reason);
    }
    // A hard link to a symbolic link is one; to write to it changes only the image.
    let target = format!("{canary}/secret");
    let archive = tar().long_name(&target).symlink("s", "x");
    let sneaky = tar().pax(&[("linkpath", target.as_bytes())]).symlink("s", "x");
    drop(archive);
    let root = yard.root(&sneaky.hard_link("h", "s").file("h", b"evil").end());
    assert_eq!(std::fs::read(root.join("h")).unwrap(), b"evil");
    assert_eq!(std::fs::read(&target).unwrap(), b"untouched");
}

#[test]
fn depth_cannot_be_had_by_links() {
    let yard = Yard::new();
    // Each link leads to the end of the way so far.
    let mut archive = tar();
    let way = "d/".repeat(40);
    for number in 0..8 {
        let from = if number == 0 { String::new() } else { format!("l{}/", number - 1) };
        archive = archive.long_name(&format!("{from}{way}x")).file("x", b"");
        archive = archive.symlink(&format!("l{number}"), &format!("{from}{way}"));
    }
    yard.refuses_bytes("deep by links", &archive.end(), "256 directories deep");
}

#[test]
fn bombs_are_refused() {
    let yard = Yard::new();
    let huge = |size: u64| tar().entry(b'0', "bomb", "", b"", |header| header.set_size(size)).end();
    yard.refuses_bytes("a huge file", &huge(1 << 40), "bytes unpacked");
    let sparse = sparse_header(1 << 40, &[], 0);
    yard.refuses_bytes("a huge sparse file", &sparse.end(), "bytes unpacked");
    yard.refuses_bytes("a size near 2^63", &huge(i64::MAX.cast_unsigned()), "too large");
    yard.refuses_bytes("a size above 2^63", &huge(u64::MAX), "the size of an entry");

    let source = yard.source(&(0..200).fold(tar(), |a, n| a.file(&format!("f{n}"), b"")).end());
    let mut request = yard.request(&source);
    request.limits.entries = 150;
    yard.refuses("many files", &request, "more than 150 entries: if that is what you expect");
    let globals = (0..200).fold(tar(), |a, _| a.entry(b'g', "g", "", b"", |_| {})).end();
    let mut request = yard.request(&yard.source(&globals));
    request.limits.entries = 150;
    yard.refuses("many headers", &request, "more than 150 entries");
    let files = (0..4).fold(tar(), |a, n| a.file(&format!("f{n}"), &[1; 1000])).end();
    let mut request = yard.request(&yard.source(&files));
    request.limits.size = 3000;
    yard.refuses("many bytes", &request, "more than 3000 bytes unpacked");
    yard.refuses_bytes(
        "a huge extended header",
        &tar()
            .entry(b'x', "p", "", b"", |header| {
                header.set_size(1 << 30);
            })
            .end(),
        "extended header",
    );
    yard.refuses_bytes(
        "a huge name",
        &tar()
            .entry(b'L', "p", "", b"", |header| {
                header.set_size(1 << 30);
            })
            .end(),
        "extended header",
    );

    // 280 MiB of zeroes in 10 KiB.
    let length = 280 << 20;
    let head = Tarball::new().entry(b'0', "bomb", "", b"", |header| header.set_size(length));
    let bomb = [zstd(&head.open_end()), crate::samples::packed::bomb("zstd", 280)].concat();
    yard.refuses_bytes("a ratio", &bomb, "bytes for each byte of its compressed data");
    let windows = [crate::samples::packed::zstd_huge_window()].concat();
    yard.refuses_bytes("a window", &windows, "too much memory");
}

#[test]
fn what_was_cut_off_is_refused() {
    let yard = Yard::new();
    let whole = tar().file("file", &[7; 1500]).end();
    let end_mark = whole.len() - 2 * BLOCK;
    for length in [1, 511, 512, 700, 1024, 1100, 2000, 2048, 3000, end_mark, end_mark + 100] {
        let reason = if length < BLOCK { "it is neither" } else { "cut off" };
        yard.refuses_bytes(&format!("cut at {length}"), &whole[..length], reason);
    }
    for (format, pack) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("zstd", zstd), ("xz", xz)] {
        let packed = pack(&crate::samples::noise(4000));
        let packed_tar = pack(&tar().file("file", &crate::samples::noise(4000)).end());
        assert!(packed.len() < packed_tar.len());
        for part in [3, 2] {
            let cut = &packed_tar[..packed_tar.len() - packed_tar.len() / part];
            yard.refuses_bytes(format, cut, "");
        }
        yard.refuses_bytes(format, &packed_tar[..packed_tar.len() - 2], "");
        yard.refuses_bytes("no archive in it", &packed, "");
    }
    for nothing in [&b""[..], b"hello", &[b'x'; 2000], b"\x7fELF", &crate::samples::noise(5000)] {
        yard.refuses_bytes("no archive", nothing, "it is neither a directory, a tarball");
    }
}

#[test]
fn numbers_that_lie_are_refused() {
    let yard = Yard::new();
    let with = |change: fn(&mut tar::Header)| tar().entry(b'0', "x", "", b"", change).end();
    let pax = |key: &str, value: &[u8]| tar().pax(&[(key, value)]).file("x", b"").end();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("negative size", with(|h| h.as_old_mut().size = [0xFF; 12]), "is negative"),
        ("negative owner", with(|h| h.as_old_mut().uid = [0xFF; 8]), "none that a file can have"),
        ("owner above 2^32", with(|h| h.set_uid(1 << 32)), "none that a file can have"),
        ("owner -1", pax("uid", b"4294967295"), "none that a file can have"),
        ("no number", with(|h| h.as_old_mut().mode = *b"rwxr-x  "), "is no octal number"),
        (
            "size in digits that are none",
            with(|h| h.as_old_mut().size = *b"99999999999\0"),
            "octal",
        ),
        (
            "time above 2^63",
            with(|h| {
                h.as_old_mut().mtime = [0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            }),
            "is too large",
        ),
        ("extended size above 2^64", pax("size", b"18446744073709551616"), "is no number"),
        ("extended size below 0", pax("size", b"-5"), "is no number"),
        ("extended size beyond the end", pax("size", b"100000"), "cut off"),
        ("extended size above the limit", pax("size", b"1000000000000"), "bytes unpacked"),
        (
            "a record longer than its header",
            tar().entry(b'x', "p", "", b"99 path=a\n", |_| {}).file("x", b"").end(),
            "malformed",
        ),
        (
            "a record without an end",
            tar().entry(b'x', "p", "", b"8 path=ab", |_| {}).file("x", b"").end(),
            "malformed",
        ),
        (
            "a checksum",
            {
                let mut bytes = tar().end();
                bytes[BLOCK + 10] ^= 1;
                bytes
            },
            "checksum",
        ),
    ];
    for (what, bytes, reason) in cases {
        yard.refuses_bytes(what, &bytes, reason);
    }
}

#[test]
fn entries_that_make_no_sense_are_refused() {
    let yard = Yard::new();
    let of_kind = |kind: u8| tar().entry(kind, "x", "", b"", |_| {}).end();
    let device = |major: u64| {
        tar().entry(b'4', "x", "", b"", |header| {
            fill(&mut header.as_gnu_mut().unwrap().dev_major, format!("{major:07o}").as_bytes());
        })
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("an unknown kind", of_kind(b'M'), "type 'M' is not known"),
        ("a volume", of_kind(b'V'), "is not known"),
        ("a control character", of_kind(7), "is not known"),
        ("a device that is none", device(1 << 13).end(), "none of Linux's"),
        ("a directory with data", tar().entry(b'5', "d", "", b"data", |_| {}).end(), "has data"),
        ("a link with data", tar().entry(b'2', "s", "t", b"data", |_| {}).end(), "has data"),
        (
            "two extended headers",
            tar().pax(&[("path", b"a")]).pax(&[("path", b"b")]).file("x", b"").end(),
            "is there twice",
        ),
        ("two long names", tar().long_name("a").long_name("b").file("x", b"").end(), "twice"),
        ("a header for nothing", tar().pax(&[("path", b"a")]).end(), "is for no entry"),
        (
            "a global path",
            tar().entry(b'g', "g", "", b"12 path=abc\n", |_| {}).file("x", b"").end(),
            "for all entries at once",
        ),
        ("something behind the end", [tar().end(), tar().end()].concat(), "behind its end mark"),
        (
            "something behind one zero block",
            tar().data(&[0; BLOCK]).file("x", b"").end(),
            "behind a zero block",
        ),
    ];
    for (what, bytes, reason) in cases {
        yard.refuses_bytes(what, &bytes, reason);
    }
}

/// A sparse file of GNU's old format.
fn sparse_header(size: u64, map: &[(u64, u64)], stored: usize) -> Tarball {
    tar().entry(b'S', "sparse", "", &vec![1; stored], |header| {
        let gnu = header.as_gnu_mut().unwrap();
        gnu.set_real_size(size);
        for (piece, (offset, length)) in gnu.sparse.iter_mut().zip(map) {
            piece.set_offset(*offset);
            piece.set_length(*length);
        }
    })
}

#[test]
fn maps_of_sparse_files_that_lie_are_refused() {
    let yard = Yard::new();
    let old = |size, map: &[(u64, u64)], stored| sparse_header(size, map, stored).end();
    let refused = "map does not go with its data";
    let newer = |text: &str, size: &[u8]| {
        let records: [(&str, &[u8]); 4] = [
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"sparse"),
            ("GNU.sparse.realsize", size),
        ];
        let mut data = text.as_bytes().to_vec();
        data.resize(data.len().next_multiple_of(BLOCK), 0);
        data.extend([1; 4]);
        tar().pax(&records).file("GNUSparseFile.0/sparse", &data).end()
    };
    let map = |value: &[u8]| {
        tar()
            .pax(&[("GNU.sparse.size", b"100"), ("GNU.sparse.map", value)])
            .file("x", b"1234")
            .end()
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("beyond the file", old(100, &[(98, 4)], 4), refused),
        ("overlapping", old(100, &[(0, 4), (2, 4)], 8), refused),
        ("backwards", old(100, &[(50, 4), (0, 4)], 8), refused),
        ("more than there is", old(100, &[(0, 8)], 4), refused),
        ("less than there is", old(100, &[(0, 2)], 4), refused),
        ("beyond 2^63", old(100, &[(u64::MAX - 2, 4)], 4), "map is malformed"),
        ("1.0: no numbers", newer("x\n", b"100"), "map is malformed"),
        ("1.0: many", newer("99999999999\n", b"100"), "map is malformed"),
        ("1.0: too few", newer("3\n0\n4\n", b"100"), "map is malformed"),
        ("1.0: backwards", newer("2\n50\n2\n0\n2\n", b"100"), refused),
        ("1.0: beyond the file", newer("1\n99\n4\n", b"100"), refused),
        ("1.0: too large", newer("1\n0\n4\n", b"99999999999999"), "bytes unpacked"),
        ("1.0: size above 2^63", newer("1\n0\n4\n", b"9999999999999999999"), refused),
        ("0.1: odd", map(b"0,4,5"), "malformed"),
        ("0.1: overlapping", map(b"0,2,1,2"), refused),
        ("0.1: overflow", map(b"18446744073709551615,4"), refused),
        (
            "a hole and no size",
            tar().pax(&[("GNU.sparse.map", b"0,4")]).file("x", b"1234").end(),
            "no size",
        ),
        (
            "a directory with holes",
            tar().pax(&[("GNU.sparse.size", b"9")]).directory("d").end(),
            "is no file",
        ),
    ];
    for (what, bytes, reason) in cases {
        yard.refuses_bytes(what, &bytes, reason);
    }
}
