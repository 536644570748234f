//! Guests of a few instructions on `/dev/kvm` itself: every exit is checked. They run also where
//! KVM has no hardware virtualization and interprets the guest.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod devices;
mod ends;
mod guest_code;
mod harness;
mod hostile_disk;
mod modes;
mod processors;
mod serial;
