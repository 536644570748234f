//! The file system device with a back end of the test's own: what vhost-user promises, and what becomes of
//! a device whose back end does not keep to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use duplex::vm::devices::virtio::event_thread::EventThread;
use duplex::vm::devices::virtio::fs::{Fs, QUEUES};
use duplex::vm::devices::virtio::vhost_user;
use duplex::vm::memory::allocate_shared;
use virtio_bindings::virtio_mmio as reg;
use vm_memory::Bytes;

use crate::back_end::{
    ANSWER, BackEnd, Fault, GET_FEATURES, GET_PROTOCOL_FEATURES, GET_VRING_BASE, SET_FEATURES,
    SET_MEM_TABLE, SET_OWNER, SET_PROTOCOL_FEATURES, SET_VRING_ADDR, SET_VRING_BASE,
    SET_VRING_CALL, SET_VRING_ENABLE, SET_VRING_KICK, SET_VRING_NUM,
};
use crate::driver::{
    ACKNOWLEDGE, ARENA, DRIVER, DRIVER_OK, Driver, FEATURES_OK, NEEDS_RESET, WRITE, desc,
};

/// The queue of requests.
const REQUESTS: usize = 1;
/// What a front end allows that is never answered. Those that are answered have the usual limit.
const SHORT: Duration = Duration::from_millis(300);

fn patience(fault: Fault) -> Duration {
    match fault {
        // Nonsense may announce more than comes.
        Fault::IsSilent(_) | Fault::TalksNonsense(_) => SHORT,
        _ => vhost_user::PATIENCE,
    }
}

fn connect(fault: Fault) -> Result<(BackEnd, Fs), vhost_user::Error> {
    let (back_end, connection) = BackEnd::start(fault);
    let thread = Arc::new(EventThread::start("test").unwrap());
    let name = "test".into();
    let patience = patience(fault);
    let ours = vhost_user::BackEnd::connect(name, connection, QUEUES, None, thread, patience)?;
    Ok((back_end, Fs::new("tag", ours)))
}

/// A device, and a driver that has done nothing yet.
fn device(fault: Fault) -> (BackEnd, Driver) {
    let (back_end, device) = connect(fault).unwrap();
    (back_end, Driver::on(Box::new(device), allocate_shared("32M".parse().unwrap()).unwrap()))
}

fn ready(fault: Fault) -> (BackEnd, Driver) {
    let (back_end, mut driver) = device(fault);
    driver.start(u64::MAX, 8);
    (back_end, driver)
}

fn is_served(driver: &mut Driver, queue: usize) {
    let length = u32::try_from(ANSWER.len()).unwrap();
    driver.put(ARENA, [0_u8; 8]);
    driver.send(queue, 0, &[desc(ARENA, 64, WRITE, 0)]);
    assert_eq!(driver.wait_used(queue), (0, length));
    let mut seen = vec![0; ANSWER.len()];
    driver.memory.read_slice(&mut seen, vm_memory::GuestAddress(ARENA)).unwrap();
    assert_eq!(seen, ANSWER);
}

#[test]
fn the_configuration_is_a_tag_and_a_number_of_queues() {
    let (_back_end, driver) = device(Fault::None);
    assert_eq!(driver.read(reg::VIRTIO_MMIO_DEVICE_ID), 26);
    let tag = driver.read(reg::VIRTIO_MMIO_CONFIG).to_le_bytes();
    assert_eq!(&tag, b"tag\0");
    assert_eq!(driver.read(reg::VIRTIO_MMIO_CONFIG + 36), 1);
    assert_eq!(driver.read(reg::VIRTIO_MMIO_CONFIG + 40), 0);
}

#[test]
fn the_back_end_serves_each_queue_and_the_driver_is_interrupted() {
    let (_back_end, mut driver) = ready(Fault::None);
    for _ in 0..20 {
        is_served(&mut driver, REQUESTS);
        is_served(&mut driver, 0);
    }
    assert!(driver.interrupts > 0);
}

#[test]
fn a_reset_stops_each_ring_and_the_device_works_again() {
    let (back_end, mut driver) = ready(Fault::None);
    for _ in 0..5 {
        is_served(&mut driver, REQUESTS);
        driver.set_status(0);
        back_end.wait_for(GET_VRING_BASE);
        back_end.wait_for(GET_VRING_BASE);
        assert_eq!((driver.status(), driver.read(reg::VIRTIO_MMIO_INTERRUPT_STATUS)), (0, 0));
        // Nobody hears the bell, and nothing is written.
        let _ = driver.transport.interrupt().line().read();
        driver.put(ARENA, [0_u8; 8]);
        driver.send(REQUESTS, 0, &[desc(ARENA, 64, WRITE, 0)]);
        assert!(driver.interrupt_within(Duration::from_millis(20)).is_none());
        assert_eq!(driver.get::<u64>(ARENA), 0);
        driver.start(u64::MAX, 8);
    }
}

#[test]
fn a_reset_in_the_middle_of_requests_waits_for_nothing_else() {
    let (_back_end, mut driver) = ready(Fault::NeverServes);
    for head in 0..8 {
        driver.send(REQUESTS, head, &[desc(ARENA, 64, WRITE, 0)]);
    }
    driver.set_status(0);
    assert_eq!(driver.status(), 0);
    driver.start(u64::MAX, 8);
    assert_eq!(driver.status() & NEEDS_RESET, 0);
}

#[test]
fn one_queue_alone_is_served() {
    let (_back_end, mut driver) = device(Fault::None);
    driver.negotiate(u64::MAX);
    driver.start_with_second_only();
    is_served(&mut driver, REQUESTS);
}

#[test]
fn rings_outside_memory_reach_no_back_end() {
    let (back_end, mut driver) = device(Fault::None);
    for broken in [0x7FFF_FFF0_u64, u64::MAX - 15, 1] {
        driver.start(u64::MAX, 8);
        driver.set_status(0);
        driver.negotiate(u64::MAX);
        let rings = driver.rings.clone();
        driver.place(0, rings[0]);
        driver.place(1, crate::driver::Ring { descriptors: broken, ..rings[1] });
        while back_end.asked.try_recv().is_ok() {}
        driver.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
        assert_eq!(driver.status() & NEEDS_RESET, NEEDS_RESET, "{broken:#x}");
        assert!(back_end.asked.try_recv().is_err(), "{broken:#x}");
        driver.set_status(0);
    }
    driver.start(u64::MAX, 8);
    is_served(&mut driver, REQUESTS);
}

#[test]
fn a_back_end_that_ends_leaves_a_broken_device() {
    let (back_end, mut driver) = ready(Fault::NeverServes);
    driver.send(REQUESTS, 0, &[desc(ARENA, 64, WRITE, 0)]);
    back_end.kill();
    driver.wait_broken();
    driver.set_status(0);
    assert_eq!(driver.status(), 0);
    // There is nobody to serve it any more.
    driver.start(u64::MAX, 8);
    assert_eq!(driver.status() & NEEDS_RESET, NEEDS_RESET);
}

/// Those of the first moments: there is no device then.
const FIRST: [u32; 4] = [SET_OWNER, GET_FEATURES, GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES];
/// Those that the driver's DRIVER_OK leads to.
const LATER: [u32; 8] = [
    SET_FEATURES,
    SET_MEM_TABLE,
    SET_VRING_NUM,
    SET_VRING_BASE,
    SET_VRING_ADDR,
    SET_VRING_CALL,
    SET_VRING_KICK,
    SET_VRING_ENABLE,
];

#[test]
fn a_back_end_that_goes_wrong_at_first_is_an_error() {
    let answered = [GET_FEATURES, GET_PROTOCOL_FEATURES];
    let dies = FIRST.map(Fault::Dies);
    let others = answered.iter().flat_map(|at| [Fault::IsSilent(*at), Fault::TalksNonsense(*at)]);
    for fault in dies.into_iter().chain(others) {
        // One that is gone after the last of them is noticed at the next.
        if fault != Fault::Dies(SET_PROTOCOL_FEATURES) {
            assert!(connect(fault).is_err(), "{fault:?}");
        }
    }
    let lacks = connect(Fault::LacksFeatures).err().unwrap().to_string();
    assert!(lacks.contains("lacks features"), "{lacks}");
}

#[test]
fn a_back_end_that_goes_wrong_later_breaks_the_device_and_nothing_else() {
    let faults = [Fault::Dies, Fault::IsSilent, Fault::Refuses, Fault::TalksNonsense];
    for fault in LATER.iter().flat_map(|request| faults.map(|fault| fault(*request))) {
        let (_back_end, driver) = ready(fault);
        assert_eq!(driver.status() & NEEDS_RESET, NEEDS_RESET, "{fault:?}");
        driver.set_status(0);
        assert_eq!(driver.status(), 0);
    }
}

#[test]
fn a_back_end_that_does_not_let_go_is_left() {
    for fault in [Fault::Dies, Fault::IsSilent, Fault::TalksNonsense] {
        let fault = fault(GET_VRING_BASE);
        let (_back_end, mut driver) = ready(fault);
        let start = Instant::now();
        driver.set_status(0);
        assert!(start.elapsed() < vhost_user::PATIENCE, "{fault:?}");
        assert_eq!(driver.status(), 0);
        driver.start(u64::MAX, 8);
        assert_eq!(driver.status() & NEEDS_RESET, NEEDS_RESET, "{fault:?}");
    }
}

#[test]
fn memory_that_cannot_be_shared_is_not_shown() {
    let (_back_end, device) = connect(Fault::None).unwrap();
    let driver = Driver::ready(Box::new(device), u64::MAX, 8);
    assert_eq!(driver.status() & NEEDS_RESET, NEEDS_RESET);
}
