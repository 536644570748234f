//! Queues, used right: indirect tables, event index, suppression, several queues, indices that wrap.

use crate::disk::{ALL, Data, ENGINES, GET_ID, IN, OK, OUT, device, image, place};
use crate::driver::{Driver, EVENT_IDX, INDIRECT, INDIRECT_DESC, NEXT, WRITE, desc};
use duplex::workload::{Disk, DiskEngine};

#[test]
fn an_indirect_table_is_a_chain_too() {
    for engine in ENGINES {
        let image = image(1 << 20);
        let mut driver = Driver::ready(device(&image.disk(engine)), INDIRECT_DESC, 4);
        // More buffers than the queue has descriptors.
        driver.prepare(0, IN, 0, Data::In(4096));
        let (header, status, at) = place(0);
        let mut table = vec![desc(header, 16, NEXT, 1)];
        for part in 0..8 {
            table.push(desc(at + part * 512, 512, WRITE | NEXT, u16::try_from(part + 2).unwrap()));
        }
        table.push(desc(status, 1, WRITE, 0));
        let place = at + 0x8000;
        driver.put_descriptors(place, 0, &table);
        let size = u32::try_from(table.len() * 16).unwrap();
        driver.send(0, 2, &[desc(place, size, INDIRECT, 0)]);
        assert_eq!(driver.wait_used(0), (2, 4097));
        assert_eq!(driver.get::<u8>(status), OK);
    }
}

/// Sends `count` requests in batches of 32 and takes them all back.
fn many(driver: &mut Driver, count: u32) {
    let mut sent = 0;
    while sent < count {
        for head in 0..32 {
            let chain = driver.prepare(head * 3, GET_ID, 0, Data::In(20));
            let last = chain.len() - 1;
            let linked: Vec<_> = (0..)
                .zip(&chain)
                .map(|(at, d)| {
                    let link = if at < u16::try_from(last).unwrap() { NEXT } else { 0 };
                    desc(d.gpa, d.len, d.flags | link, head * 3 + at + 1)
                })
                .collect();
            driver.put_descriptors(driver.rings[0].descriptors, head * 3, &linked);
            driver.make_available(0, head * 3);
            if driver.wants_kick(0) {
                driver.kick(0);
            }
        }
        for _ in 0..32 {
            let (head, written) = driver.wait_used(0);
            assert_eq!(written, 21);
            let (_, status, _) = place(u16::try_from(head).unwrap());
            assert_eq!(driver.get::<u8>(status), OK);
        }
        sent += 32;
    }
}

#[test]
fn indices_wrap_at_65536_with_and_without_the_event_index() {
    for features in [0, EVENT_IDX] {
        let image = image(4096);
        let disk = Disk::new(&image.path);
        let mut driver = Driver::ready(device(&disk), features, 128);
        many(&mut driver, 70_000);
        assert_eq!(driver.used_index(0), u16::try_from(70_016 % 65536).unwrap());
        // Suppression works: far fewer interrupts than requests.
        assert!(driver.interrupts < 70_000, "{} interrupts", driver.interrupts);
    }
}

#[test]
fn a_driver_that_wants_no_interrupts_gets_none() {
    let image = image(1 << 20);
    let mut driver = Driver::ready(device(&image.disk(DiskEngine::Threads)), 0, 16);
    driver.put(driver.rings[0].available, 1_u16);
    let chain = driver.prepare(0, IN, 0, Data::In(512));
    driver.send(0, 0, &chain);
    while driver.take_used(0).is_none() {
        std::thread::yield_now();
    }
    assert_eq!(driver.interrupt_within(std::time::Duration::from_millis(50)), None);
    driver.put(driver.rings[0].available, 0_u16);
    driver.send(0, 0, &chain);
    assert_eq!(driver.interrupt(), 1);
}

#[test]
fn every_queue_works_and_all_see_one_disk() {
    for engine in ENGINES {
        let image = image(1 << 20);
        let disk = Disk { queues: 4, ..image.disk(engine) };
        let mut driver = Driver::ready(device(&disk), ALL, 16);
        assert_eq!(driver.rings.len(), 4);
        for queue in 0..4_u16 {
            let data = [u8::try_from(queue).unwrap() + 1; 512];
            let head = queue * 4;
            let chain = driver.prepare(head, OUT, queue.into(), Data::Out(&data));
            driver.send(queue.into(), head, &chain);
        }
        for queue in 0..4_u16 {
            assert_eq!(driver.wait_used(queue.into()), (u32::from(queue) * 4, 1));
        }
        let (_, _, read) = driver.request(IN, 0, Data::In(2048));
        let sectors: Vec<u8> = read.chunks(512).map(|sector| sector[0]).collect();
        assert_eq!(sectors, [1, 2, 3, 4]);
    }
}

#[test]
fn a_queue_that_was_not_made_ready_is_left_out() {
    let image = image(1 << 20);
    let disk = Disk { queues: 2, ..image.disk(DiskEngine::Threads) };
    let mut driver = Driver::new(device(&disk));
    driver.negotiate(ALL);
    driver.start_with_second_only();
    let chain = driver.prepare(0, IN, 0, Data::In(512));
    driver.send(1, 0, &chain);
    assert_eq!(driver.wait_used(1), (0, 513));
}
