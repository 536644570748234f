//! Rings and chains as no driver should make them. A bad queue breaks the device until it is reset; a
//! bad request fails; the VMM goes on.

use duplex::workload::DiskEngine;

use crate::disk::{
    ALL, Data, ENGINES, GET_ID, IN, IOERR, Image, OK, OUT, STRIDE, device, image, place,
};
use crate::driver::{
    ACKNOWLEDGE, DRIVER, DRIVER_OK, Desc, Driver, FEATURES_OK, INDIRECT, INDIRECT_DESC, MEMORY,
    NEEDS_RESET, NEXT, Ring, WRITE, desc,
};

/// A driver of a disk, the same after each reset.
struct Bench {
    _image: Image,
    driver: Driver,
}

impl Bench {
    fn new(engine: DiskEngine) -> Bench {
        let image = image(1 << 20);
        let driver = Driver::ready(device(&image.disk(engine)), ALL, 8);
        Bench { _image: image, driver }
    }

    /// After something hostile: the device says that it is broken, and works again after a reset.
    fn recovers(&mut self, what: &str) {
        self.driver.wait_broken();
        // What was broken does nothing more.
        self.driver.kick(0);
        self.driver.start(ALL, 8);
        assert_eq!(self.driver.status() & NEEDS_RESET, 0, "{what}");
        assert_eq!(self.driver.status_of(IN, 0, Data::In(512)), OK, "{what}");
        self.driver.start(ALL, 8);
    }
}

const HEADER: u64 = 0x40_0000;
const STATUS: u64 = HEADER + 16;
const OTHER: u64 = 0x50_0000;

#[test]
fn chains_that_are_wrong_break_the_queue() {
    let ok = desc(HEADER, 16, NEXT, 1);
    let cases: &[(&str, &[Desc], &[Desc])] = &[
        ("a loop of one", &[desc(HEADER, 16, NEXT, 0)], &[]),
        ("a loop of two", &[ok, desc(STATUS, 1, WRITE | NEXT, 1)], &[]),
        ("a link out of the table", &[desc(HEADER, 16, NEXT, 8)], &[]),
        ("a link far out of the table", &[desc(HEADER, 16, NEXT, 0xFFFF)], &[]),
        (
            "readable behind writable",
            &[desc(STATUS, 1, WRITE | NEXT, 1), desc(HEADER, 16, 0, 0)],
            &[],
        ),
        ("nowhere to answer", &[desc(HEADER, 16, 0, 0)], &[]),
        ("an empty chain", &[desc(HEADER, 0, 0, 0)], &[]),
        ("an empty answer", &[ok, desc(STATUS, 0, WRITE, 0)], &[]),
        ("an answer out of memory", &[ok, desc(MEMORY, 1, WRITE, 0)], &[]),
        ("an answer at the end of the world", &[ok, desc(u64::MAX, 1, WRITE, 0)], &[]),
        ("an answer in the MMIO hole", &[ok, desc(0xD000_0000, 1, WRITE, 0)], &[]),
        ("more than 4 GiB", &[ok, desc(0, u32::MAX, WRITE | NEXT, 2), desc(0, 2, WRITE, 0)], &[]),
        ("indirect in indirect", &[desc(OTHER, 16, INDIRECT, 0)], &[desc(OTHER, 16, INDIRECT, 0)]),
        ("indirect and next", &[desc(OTHER, 16, INDIRECT | NEXT, 1)], &[desc(HEADER, 16, 0, 0)]),
        ("an indirect table of nothing", &[desc(OTHER, 0, INDIRECT, 0)], &[]),
        ("an indirect table of odd size", &[desc(OTHER, 24, INDIRECT, 0)], &[]),
        ("a huge indirect table", &[desc(OTHER, 0xFFFF_FFF0, INDIRECT, 0)], &[]),
        ("an indirect table out of memory", &[desc(MEMORY, 16, INDIRECT, 0)], &[]),
        ("an indirect table that wraps", &[desc(u64::MAX - 15, 32, INDIRECT, 0)], &[]),
        (
            "a loop in an indirect table",
            &[desc(OTHER, 32, INDIRECT, 0)],
            &[desc(HEADER, 16, NEXT, 0)],
        ),
        (
            "a link out of an indirect table",
            &[desc(OTHER, 32, INDIRECT, 0)],
            &[desc(HEADER, 16, NEXT, 2)],
        ),
    ];
    for engine in ENGINES {
        let mut bench = Bench::new(engine);
        for (what, direct, indirect) in cases {
            let driver = &mut bench.driver;
            driver.put_descriptors(OTHER, 0, indirect);
            driver.put_descriptors(driver.rings[0].descriptors, 0, direct);
            driver.make_available(0, 0);
            driver.kick(0);
            bench.recovers(what);
        }
    }
}

#[test]
fn an_indirect_table_needs_the_feature() {
    let mut bench = Bench::new(DiskEngine::Threads);
    bench.driver.start(ALL & !INDIRECT_DESC, 8);
    bench.driver.put_descriptors(OTHER, 0, &[desc(HEADER, 16, 0, 0)]);
    bench.driver.send(0, 0, &[desc(OTHER, 16, INDIRECT, 0)]);
    bench.recovers("indirect without the feature");
}

#[test]
fn heads_and_indices_that_are_wrong_break_the_queue() {
    let mut bench = Bench::new(DiskEngine::Threads);
    for head in [8, 9, 0xFFFF] {
        bench.driver.make_available(0, head);
        bench.driver.kick(0);
        bench.recovers("a head out of the table");
    }
    for index in [9_u16, 100, 0x8000, 0xFFFF] {
        bench.driver.put(bench.driver.rings[0].available + 2, index);
        bench.driver.kick(0);
        bench.recovers("an available index that jumps");
    }
}

#[test]
fn an_index_that_goes_back_breaks_the_queue() {
    let mut bench = Bench::new(DiskEngine::Threads);
    assert_eq!(bench.driver.status_of(IN, 0, Data::In(512)), OK);
    bench.driver.put(bench.driver.rings[0].available + 2, 0_u16);
    bench.driver.kick(0);
    bench.recovers("an available index that goes back");
}

#[test]
fn rings_where_none_may_be_break_the_device_at_once() {
    let mut bench = Bench::new(DiskEngine::Threads);
    let good = bench.driver.rings[0];
    let mut cases = Vec::new();
    for size in [0, 3, 7, 255, 257, 512, 0x8000, 0xFFFF] {
        cases.push(Ring { size, ..good });
    }
    for at in
        [MEMORY, MEMORY - 16, 0xD000_0000, 0xFEC0_0000, u64::MAX - 15, u64::MAX - 127, 1 << 63]
    {
        cases.push(Ring { descriptors: at, ..good });
        cases.push(Ring { available: at, ..good });
        cases.push(Ring { used: at & !3, ..good });
    }
    cases.push(Ring { descriptors: good.descriptors + 8, ..good });
    cases.push(Ring { available: good.available + 1, ..good });
    cases.push(Ring { used: good.used + 2, ..good });
    for ring in cases {
        bench.driver.negotiate(ALL);
        bench.driver.place(0, ring);
        bench.driver.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
        assert_ne!(bench.driver.status() & NEEDS_RESET, 0, "{ring:x?}");
        bench.driver.kick(0);
        bench.recovers("rings where none may be");
    }
}

#[test]
fn rings_on_top_of_each_other_hurt_only_the_driver() {
    let mut bench = Bench::new(DiskEngine::Threads);
    let good = bench.driver.rings[0];
    for ring in [
        Ring { used: good.descriptors, ..good },
        Ring { used: good.available, ..good },
        Ring { available: good.descriptors, ..good },
        Ring { descriptors: good.used, available: good.used, ..good },
    ] {
        bench.driver.negotiate(ALL);
        bench.driver.place(0, ring);
        bench.driver.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
        bench.driver.rings[0] = ring;
        for _ in 0..20 {
            let chain = bench.driver.prepare(0, GET_ID, 0, Data::In(20));
            bench.driver.send(0, 0, &chain);
        }
        // It may be broken or not; it must stop and start.
        bench.driver.start(ALL, 8);
        assert_eq!(bench.driver.status_of(IN, 0, Data::In(512)), OK);
    }
}

#[test]
fn requests_that_are_wrong_fail_alone() {
    for engine in ENGINES {
        let mut bench = Bench::new(engine);
        let driver = &mut bench.driver;
        let (header, status, at) = place(0);
        let answer = desc(status, 1, WRITE, 0);
        let cases: Vec<(&str, u32, Vec<Desc>)> = vec![
            ("no header", IN, vec![desc(at, 512, WRITE, 0), answer]),
            ("half a header", IN, vec![desc(header, 8, 0, 0), desc(at, 512, WRITE, 0), answer]),
            ("a header out of memory", IN, vec![desc(MEMORY - 8, 16, 0, 0), answer]),
            (
                "data out of memory",
                IN,
                vec![desc(header, 16, 0, 0), desc(MEMORY, 512, WRITE, 0), answer],
            ),
            (
                "data half in memory",
                IN,
                vec![desc(header, 16, 0, 0), desc(MEMORY - 256, 512, WRITE, 0), answer],
            ),
            (
                "data that wraps",
                IN,
                vec![desc(header, 16, 0, 0), desc(u64::MAX - 100, 512, WRITE, 0), answer],
            ),
            (
                "data to write out of memory",
                OUT,
                vec![desc(header, 16, 0, 0), desc(u64::MAX - 511, 512, 0, 0), answer],
            ),
            ("huge data", IN, vec![desc(header, 16, 0, 0), desc(0, 0xFFFF_FE00, WRITE, 0), answer]),
            (
                "an id out of memory",
                GET_ID,
                vec![desc(header, 16, 0, 0), desc(MEMORY, 20, WRITE, 0), answer],
            ),
            // A write whose data the device is to write: it has no data, and no whole sector to read.
            (
                "a write the wrong way round",
                OUT,
                vec![desc(header, 16, 0, 0), desc(at, 100, 0, 0), answer],
            ),
        ];
        for (what, kind, chain) in cases {
            driver.prepare(0, kind, 0, Data::None);
            driver.send(0, 0, &chain);
            assert_eq!(driver.wait_used(0), (0, 1), "{what}");
            assert_eq!(driver.get::<u8>(status), IOERR, "{what}");
        }
        assert_eq!(driver.status_of(IN, 0, Data::In(512)), OK);
        assert_eq!(driver.status() & NEEDS_RESET, 0);
    }
}

#[test]
fn a_request_in_more_pieces_than_were_allowed_fails() {
    let mut bench = Bench::new(DiskEngine::Threads);
    let driver = &mut bench.driver;
    driver.prepare(0, IN, 0, Data::None);
    let (header, status, at) = place(0);
    for (pieces, expected) in [(254, OK), (255, IOERR), (1000, IOERR)] {
        let mut table = vec![desc(header, 16, NEXT, 1)];
        let last = pieces + 1;
        table.extend((1..last).map(|n| desc(at + u64::from(n) * 16, 2, WRITE | NEXT, n + 1)));
        // Whole sectors in all.
        table[1].len = 512 * 8 - 2 * u32::from(pieces - 1);
        table.push(desc(status, 1, WRITE, 0));
        driver.put_descriptors(OTHER, 0, &table);
        let size = u32::try_from(table.len() * 16).unwrap();
        driver.send(0, 0, &[desc(OTHER, size, INDIRECT, 0)]);
        driver.wait_used(0);
        assert_eq!(driver.get::<u8>(status), expected, "{pieces}");
    }
}

#[test]
fn the_same_chain_many_times_at_once_is_harmless() {
    for engine in ENGINES {
        let mut bench = Bench::new(engine);
        let driver = &mut bench.driver;
        let chain = driver.prepare(0, IN, 0, Data::In(u32::try_from(STRIDE).unwrap() / 2));
        driver.send(0, 0, &chain);
        for _ in 0..7 {
            driver.make_available(0, 0);
        }
        driver.kick(0);
        for _ in 0..8 {
            assert_eq!(driver.wait_used(0).0, 0);
        }
    }
}
