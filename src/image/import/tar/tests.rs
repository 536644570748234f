//! Archives that the `tar` crate and hands have made, read.

use proptest::prelude::*;
use tar::{Builder, EntryType, Header};

use super::*;
use crate::image::import::Limits;

fn header(kind: EntryType, path: &str, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_size(size);
    header.set_mode(0o4755);
    header.set_uid(7);
    header.set_gid(8);
    header.set_mtime(9);
    header.set_cksum();
    header
}

fn entries(archive: &[u8]) -> Result<Vec<Entry>, ImportError> {
    let mut archive = Archive::new(Stream(archive));
    let mut budget = Budget::new(Limits::default());
    let mut all = Vec::new();
    while let Some(entry) = archive.next(&mut budget)? {
        all.push(entry);
    }
    archive.finish()?;
    Ok(all)
}

#[test]
fn what_others_write_is_read() {
    let mut builder = Builder::new(Vec::new());
    let long = format!("{}/file", "d".repeat(150));
    builder
        .append_pax_extensions([("SCHILY.xattr.user.x", &b"1\n2"[..]), ("mtime", b"9.5")])
        .unwrap();
    builder.append(&header(EntryType::Regular, "a", 3), &b"abc"[..]).unwrap();
    let mut second = header(EntryType::Regular, "", 0);
    builder.append_data(&mut second, &long, std::io::empty()).unwrap();
    builder.append(&header(EntryType::Directory, "d/", 0), std::io::empty()).unwrap();
    let all = entries(&builder.into_inner().unwrap()).unwrap();
    let paths: Vec<&[u8]> = all.iter().map(|entry| &*entry.path).collect();
    assert_eq!(paths, [b"a", long.as_bytes(), b"d/"]);
    let attributes = Attributes {
        mode: 0o4755,
        uid: 7,
        gid: 8,
        mtime: Time { seconds: 9, nanoseconds: 500_000_000 },
        xattrs: vec![(b"user.x".to_vec(), b"1\n2".to_vec())],
    };
    let expected = Entry { path: b"a".to_vec(), kind: Kind::File, attributes, size: 3 };
    assert_eq!(all[0], expected);
    assert_eq!(all[2].kind, Kind::Directory);
}

#[test]
fn an_archive_that_was_cut_off_is_never_whole() {
    let mut builder = Builder::new(Vec::new());
    for name in ["a", "b"] {
        builder.append(&header(EntryType::Regular, name, 600), &[1; 600][..]).unwrap();
    }
    let archive = builder.into_inner().unwrap();
    let end_mark = archive.len() - 1024;
    for length in 0..end_mark + 512 {
        assert!(matches!(entries(&archive[..length]), Err(ImportError::CutShort)), "{length}");
    }
    assert_eq!(entries(&archive).unwrap().len(), 2);
}

proptest! {
    #[test]
    fn no_header_breaks_it(
        at in 0..512_usize, bytes in proptest::collection::vec(any::<u8>(), 1..40), kind in "[0-9xgLKS]",
    ) {
        let mut archive = header(EntryType::Regular, "a", 512).as_bytes().to_vec();
        for (byte, given) in archive[at..].iter_mut().zip(bytes) {
            *byte = given;
        }
        archive[156] = kind.as_bytes()[0];
        let mut fixed = Header::from_byte_slice(&archive).clone();
        fixed.set_cksum();
        let data = b"20 path=aaaaaaaaaaa\n".repeat(100);
        let _ = entries(&[fixed.as_bytes(), &*data, &[0; 1024]].concat());
    }
}
