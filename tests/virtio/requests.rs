//! Every kind of request, done right, on both engines.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use duplex::workload::Disk;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use crate::disk::{
    ALL, DISCARD, Data, ENGINES, F_FLUSH, FLUSH, GET_ID, IN, IOERR, OK, OUT, UNSUPP, WRITE_ZEROES,
    device, image, place, segment,
};
use crate::driver::{Driver, WRITE, desc};

const SECTORS: u64 = 2048;

#[test]
fn what_is_written_is_read_back_and_lies_in_the_file() {
    for engine in ENGINES {
        for features in [ALL, 0, F_FLUSH] {
            let image = image(SECTORS * 512);
            let mut driver = Driver::ready(device(&image.disk(engine)), features, 16);
            let data: Vec<u8> = (0..8192_u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
            assert_eq!(driver.request(OUT, 8, Data::Out(&data)), (OK, 1, vec![]));
            assert_eq!(driver.status_of(FLUSH, 0, Data::None), OK);
            assert_eq!(driver.request(IN, 8, Data::In(8192)), (OK, 8193, data.clone()));
            assert_eq!(fs::read(&image.path).unwrap()[4096..4096 + 8192], data);
        }
    }
}

#[test]
fn a_read_that_has_to_wait_for_the_disk_is_answered() {
    for engine in ENGINES {
        let image = image(8 << 20);
        let data: Vec<u8> = (0..8 << 20).map(|at: u32| at.to_le_bytes()[1]).collect();
        fs::write(&image.path, &data).unwrap();
        let file = fs::File::open(&image.path).unwrap();
        file.sync_all().unwrap();
        let mut driver = Driver::ready(device(&image.disk(engine)), ALL, 16);
        for sector in (0..16384).step_by(1024) {
            // Out of the page cache, as far as the host obeys.
            posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
            let (status, _, read) = driver.request(IN, sector, Data::In(4096));
            let at = usize::try_from(sector).unwrap() * 512;
            assert!(status == OK && read == data[at..at + 4096], "{engine} {sector}");
        }
    }
}

#[test]
fn the_last_sector_is_there_and_nothing_behind_it() {
    for engine in ENGINES {
        let image = image(SECTORS * 512);
        let mut driver = Driver::ready(device(&image.disk(engine)), ALL, 16);
        let sector = [7; 512];
        assert_eq!(driver.status_of(OUT, SECTORS - 1, Data::Out(&sector)), OK);
        assert_eq!(driver.request(IN, SECTORS - 1, Data::In(512)).2, sector);
        for (at, length) in [(SECTORS, 512), (SECTORS - 1, 1024), (u64::MAX, 512), (1 << 55, 512)] {
            assert_eq!(driver.status_of(IN, at, Data::In(length)), IOERR, "{at}");
            let data = vec![1; usize::try_from(length).unwrap()];
            assert_eq!(driver.status_of(OUT, at, Data::Out(&data)), IOERR, "{at}");
        }
        // Lengths that are no whole sectors.
        assert_eq!(driver.status_of(IN, 0, Data::In(100)), IOERR);
        assert_eq!(driver.status_of(OUT, 0, Data::Out(&[1; 513])), IOERR);
        assert_eq!(fs::metadata(&image.path).unwrap().len(), SECTORS * 512);
    }
}

#[test]
fn discards_and_zeroes_make_holes() {
    for engine in ENGINES {
        let image = image(SECTORS * 512);
        fs::write(&image.path, vec![0xAA; 1 << 20]).unwrap();
        let mut driver = Driver::ready(device(&image.disk(engine)), ALL, 16);
        let before = fs::metadata(&image.path).unwrap().blocks();
        for (kind, flags, sector) in [(DISCARD, 0, 8), (WRITE_ZEROES, 1, 24), (WRITE_ZEROES, 0, 40)]
        {
            let names = segment(sector, 8, flags);
            assert_eq!(driver.status_of(kind, 0, Data::Out(&names)), OK, "{kind}");
            assert_eq!(driver.request(IN, sector, Data::In(4096)).2, vec![0; 4096]);
            assert_eq!(driver.request(IN, sector + 8, Data::In(512)).2, vec![0xAA; 512]);
            // The last keeps its space, and may need more to say so.
            let holes = if sector < 40 { (sector - 8) / 16 + 1 } else { 0 };
            let after = fs::metadata(&image.path).unwrap().blocks();
            assert!(before - after >= holes * 8 || holes == 0, "{before} blocks, then {after}");
        }
        let bad = [
            (DISCARD, segment(0, 8, 1), UNSUPP),
            (WRITE_ZEROES, segment(0, 8, 2), UNSUPP),
            (DISCARD, segment(SECTORS, 1, 0), IOERR),
            (DISCARD, segment(u64::MAX, u32::MAX, 0), IOERR),
            (WRITE_ZEROES, segment(0, u32::MAX, 0), IOERR),
            (DISCARD, vec![0; 15], IOERR),
            (DISCARD, vec![0; 32], IOERR),
        ];
        for (kind, names, status) in bad {
            assert_eq!(driver.status_of(kind, 0, Data::Out(&names)), status, "{kind} {names:?}");
        }
        assert_eq!(driver.status_of(DISCARD, 0, Data::None), IOERR);
    }
}

#[test]
fn a_disk_has_an_id_and_knows_what_it_does_not_know() {
    let image = image(4096);
    let disk = Disk { id: Some("twenty-characters-id".into()), ..Disk::new(&image.path) };
    let mut driver = Driver::ready(device(&disk), ALL, 16);
    let (status, written, id) = driver.request(GET_ID, 0, Data::In(20));
    assert_eq!((status, written, &id[..]), (OK, 21, &b"twenty-characters-id"[..]));
    // A buffer that is shorter or longer than an id.
    assert_eq!(driver.request(GET_ID, 0, Data::In(6)).2, b"twenty");
    assert_eq!(driver.request(GET_ID, 0, Data::In(32)).1, 21);
    for kind in [2, 3, 5, 9, 14, 15, 24, 0x8000_0000, u32::MAX] {
        assert_eq!(driver.status_of(kind, 0, Data::None), UNSUPP, "{kind}");
    }
}

#[test]
fn a_read_only_disk_refuses_writes_and_offers_none() {
    for engine in ENGINES {
        let image = image(4096);
        let disk = Disk { read_only: true, ..image.disk(engine) };
        let mut driver = Driver::ready(device(&disk), ALL, 16);
        assert_eq!(driver.features & (1 << 5 | 1 << 13 | 1 << 14), 1 << 5);
        assert_eq!(driver.status_of(OUT, 0, Data::Out(&[1; 512])), IOERR);
        assert_eq!(driver.status_of(DISCARD, 0, Data::Out(&segment(0, 8, 0))), IOERR);
        assert_eq!(driver.status_of(FLUSH, 0, Data::None), OK);
        assert_eq!(driver.request(IN, 0, Data::In(512)).2, vec![0; 512]);
    }
}

#[test]
fn the_framing_is_the_drivers_choice() {
    for engine in ENGINES {
        let image = image(1 << 20);
        let mut driver = Driver::ready(device(&image.disk(engine)), ALL, 16);
        let data: Vec<u8> = (0..1024_u32).map(|i| u8::try_from(i % 250).unwrap()).collect();
        driver.prepare(0, OUT, 2, Data::Out(&data));
        let (header, status, at) = place(0);
        // The header in three parts, the last of which has data behind it in another buffer.
        let chain = [
            desc(header, 1, 0, 0),
            desc(header + 1, 9, 0, 0),
            desc(header + 10, 6, 0, 0),
            desc(at, 1, 0, 0),
            desc(at + 1, 1023, 0, 0),
            desc(status, 1, WRITE, 0),
        ];
        driver.send(0, 0, &chain);
        assert_eq!(driver.wait_used(0), (0, 1));
        assert_eq!(driver.get::<u8>(status), OK);
        // A read whose status is the last byte of the buffer with the data.
        driver.prepare(0, IN, 2, Data::None);
        driver.send(0, 0, &[desc(header, 16, 0, 0), desc(at + 0x1000, 1025, WRITE, 0)]);
        assert_eq!(driver.wait_used(0), (0, 1025));
        assert_eq!(driver.get::<u8>(at + 0x1000 + 1024), OK);
        assert_eq!(driver.get::<[u8; 4]>(at + 0x1000), data[..4]);
    }
}

#[test]
fn a_rate_limit_holds() {
    for engine in ENGINES {
        let image = image(1 << 20);
        let disk = Disk { operations_per_second: Some(100), ..image.disk(engine) };
        let mut driver = Driver::ready(device(&disk), ALL, 16);
        let start = Instant::now();
        // Ten are the burst; ten more take a tenth of a second, less one.
        for _ in 0..20 {
            assert_eq!(driver.status_of(IN, 0, Data::In(512)), OK);
        }
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(90), "{took:?}");
    }
}
