//! What `duplex bench` measures: each mode of the probe, and each case with few rounds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod cases;
mod probe;
mod testbed;
