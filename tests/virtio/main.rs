//! Virtio devices driven by a mock driver, in process: the real transport, queues, devices and
//! threads, without KVM.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod broken_files;
mod disk;
mod driver;
mod entropy;
mod hostile_queues;
mod hostile_registers;
mod queues;
mod requests;
mod resets;
