//! One management surface, on containers. `linux::run::management` does the same to VMs.

use crate::common::containers::{among, has_containers, shell};
use crate::common::management::Half;
use crate::common::soak;

const CONTAINERS: Half = Half { name: "container", duplex: among, shell };

#[test]
fn it_lives() {
    if has_containers() {
        CONTAINERS.lives();
    }
}

#[test]
fn it_is_paused_and_counted() {
    if has_containers() {
        CONTAINERS.is_paused_and_counted();
    }
}

#[test]
fn it_is_lost() {
    if has_containers() {
        CONTAINERS.is_lost();
    }
}

#[test]
fn it_leaves_nothing() {
    if has_containers() {
        CONTAINERS.leaves_nothing();
    }
}

#[test]
fn they_are_many() {
    if has_containers() {
        CONTAINERS.are_many(if soak() { 100 } else { 12 }, &[]);
    }
}
