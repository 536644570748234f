//! The register machine alone, as drivers of every kind write it.

use super::*;
use proptest::prelude::*;

const A: u32 = VIRTIO_CONFIG_S_ACKNOWLEDGE;
const D: u32 = VIRTIO_CONFIG_S_DRIVER;
const F: u32 = VIRTIO_CONFIG_S_FEATURES_OK;
const K: u32 = VIRTIO_CONFIG_S_DRIVER_OK;
const FAILED: u32 = VIRTIO_CONFIG_S_FAILED;

fn registers() -> Registers {
    Registers::new(2, 1 << 5, &[256, 64])
}

fn status(registers: &mut Registers, value: u32) -> Effect {
    registers.write(reg::VIRTIO_MMIO_STATUS, value)
}

fn accept(registers: &mut Registers, features: u64) {
    for (sel, value) in [(0, low(features)), (1, high(features))] {
        registers.write(reg::VIRTIO_MMIO_DRIVER_FEATURES_SEL, sel);
        registers.write(reg::VIRTIO_MMIO_DRIVER_FEATURES, value);
    }
}

fn negotiated(features: u64) -> Registers {
    let mut registers = registers();
    status(&mut registers, A);
    status(&mut registers, A | D);
    accept(&mut registers, features);
    status(&mut registers, A | D | F);
    registers
}

const VERSION_1: u64 = 1 << VIRTIO_F_VERSION_1;

#[test]
fn it_says_what_it_is() {
    let registers = registers();
    assert_eq!(registers.read(0), u32::from_le_bytes(*b"virt"));
    assert_eq!((registers.read(4), registers.read(8)), (2, 2));
    for shm in [0xB0, 0xB4, 0xB8, 0xBC] {
        assert_eq!(registers.read(shm), u32::MAX);
    }
}

#[test]
fn features_are_read_in_halves_and_none_lie_beyond() {
    let mut registers = registers();
    let mut half = |sel| {
        registers.write(reg::VIRTIO_MMIO_DEVICE_FEATURES_SEL, sel);
        registers.read(reg::VIRTIO_MMIO_DEVICE_FEATURES)
    };
    assert_eq!(half(0), 1 << 5 | 1 << 28 | 1 << 29);
    assert_eq!(half(1), 1);
    assert_eq!((half(2), half(u32::MAX)), (0, 0));
}

#[test]
fn features_ok_stays_only_with_version_1_and_what_was_offered() {
    assert_eq!(negotiated(VERSION_1).status, A | D | F);
    assert_eq!(negotiated(VERSION_1 | 1 << 5 | 1 << 29).status, A | D | F);
    for refused in [0, 1 << 5, VERSION_1 | 1, VERSION_1 | 1 << 63] {
        assert_eq!(negotiated(refused).status, A | D, "{refused:#x}");
    }
    let mut registers = registers();
    status(&mut registers, A | D);
    accept(&mut registers, VERSION_1);
    registers.write(reg::VIRTIO_MMIO_DRIVER_FEATURES_SEL, 2);
    registers.write(reg::VIRTIO_MMIO_DRIVER_FEATURES, 1);
    status(&mut registers, A | D | F);
    assert_eq!(registers.status, A | D);
}

#[test]
fn features_stay_as_they_were_agreed_on() {
    let mut registers = negotiated(VERSION_1);
    accept(&mut registers, VERSION_1 | 1 << 5);
    assert_eq!(registers.features(), VERSION_1);
}

#[test]
fn status_bits_out_of_order_are_ignored() {
    for (before, written) in [
        (0, D),
        (0, K),
        (A, A | F),
        (A | D, A | D | K),
        (A | D, A),
        (A | D, D),
        (A | D | F, A | D | F | 16),
    ] {
        let mut registers = registers();
        registers.status = before;
        assert_eq!(status(&mut registers, written), Effect::None, "{before:#x} {written:#x}");
        assert_eq!(registers.status, before, "{before:#x} {written:#x}");
    }
}

#[test]
fn a_driver_becomes_ready_once() {
    let mut registers = negotiated(VERSION_1);
    assert_eq!(status(&mut registers, A | D | F | K), Effect::Activate);
    assert_eq!(status(&mut registers, A | D | F | K), Effect::None);
    assert_eq!(status(&mut registers, 0), Effect::Reset);
}

#[test]
fn a_driver_that_gave_up_can_only_reset() {
    let mut registers = negotiated(VERSION_1);
    assert_eq!(status(&mut registers, A | D | F | FAILED), Effect::None);
    assert_eq!(status(&mut registers, A | D | F | K | FAILED), Effect::None);
    assert_eq!(registers.status, A | D | F | FAILED);
    assert_eq!(status(&mut registers, 0), Effect::Reset);
    registers.reset();
    assert_eq!(registers.status, 0);
}

#[test]
fn queues_are_set_up_between_features_ok_and_driver_ok() {
    let set_up = |registers: &mut Registers| {
        registers.write(reg::VIRTIO_MMIO_QUEUE_SEL, 1);
        registers.write(reg::VIRTIO_MMIO_QUEUE_NUM, 64);
        registers.write(reg::VIRTIO_MMIO_QUEUE_DESC_LOW, 0x1000);
        registers.write(reg::VIRTIO_MMIO_QUEUE_DESC_HIGH, 7);
        registers.write(reg::VIRTIO_MMIO_QUEUE_READY, 1);
        registers.queues()[1].rings
    };
    let mut early = registers();
    assert_eq!(set_up(&mut early), Rings::default());
    let mut good = negotiated(VERSION_1);
    let rings = set_up(&mut good);
    assert_eq!((rings.size, rings.descriptors), (64, 7 << 32 | 0x1000));
    // Ready: what it is made of stays.
    good.write(reg::VIRTIO_MMIO_QUEUE_NUM, 2);
    assert_eq!(good.queues()[1].rings.size, 64);
    assert_eq!(good.read(reg::VIRTIO_MMIO_QUEUE_READY), 1);
    status(&mut good, A | D | F | K);
    good.write(reg::VIRTIO_MMIO_QUEUE_NUM, 2);
    assert_eq!(good.queues()[1].rings.size, 64);
}

#[test]
fn a_queue_is_taken_away_once_and_does_not_come_back() {
    let mut registers = negotiated(VERSION_1);
    registers.write(reg::VIRTIO_MMIO_QUEUE_SEL, 1);
    registers.write(reg::VIRTIO_MMIO_QUEUE_READY, 1);
    status(&mut registers, A | D | F | K);
    let ready = |registers: &mut Registers, value| {
        let effect = registers.write(reg::VIRTIO_MMIO_QUEUE_READY, value);
        (effect, registers.read(reg::VIRTIO_MMIO_QUEUE_READY))
    };
    assert_eq!(ready(&mut registers, 1), (Effect::None, 1));
    assert_eq!(ready(&mut registers, 0), (Effect::Stop, 0));
    assert_eq!(ready(&mut registers, 0), (Effect::None, 0));
    assert_eq!(ready(&mut registers, 1), (Effect::None, 0));
    for other in [0, 2, u32::MAX] {
        registers.write(reg::VIRTIO_MMIO_QUEUE_SEL, other);
        assert_eq!(ready(&mut registers, 0), (Effect::None, 0));
    }
}

#[test]
fn queues_that_do_not_exist_have_no_size() {
    let mut registers = negotiated(VERSION_1);
    for (sel, size) in [(0, 256), (1, 64), (2, 0), (u32::MAX, 0)] {
        registers.write(reg::VIRTIO_MMIO_QUEUE_SEL, sel);
        assert_eq!(registers.read(reg::VIRTIO_MMIO_QUEUE_NUM_MAX), size);
        registers.write(reg::VIRTIO_MMIO_QUEUE_READY, 1);
    }
    let kick = |registers: &mut Registers, n| registers.write(reg::VIRTIO_MMIO_QUEUE_NOTIFY, n);
    assert_eq!(kick(&mut registers, 1), Effect::Notify(1));
    for nowhere in [2, 0x1_0000, u32::MAX] {
        assert_eq!(kick(&mut registers, nowhere), Effect::None);
    }
}

proptest! {
    #[test]
    fn driver_ok_is_never_reached_without_agreement(writes: Vec<(u8, u32)>) {
        let mut registers = registers();
        for (register, value) in writes {
            let offset = u32::from(register & !3);
            registers.read(offset);
            match registers.write(offset, value) {
                Effect::Activate => prop_assert!(registers.features_are_fine()),
                Effect::Reset => registers.reset(),
                _ => {}
            }
            prop_assert!(in_order(registers.status));
        }
    }
}
