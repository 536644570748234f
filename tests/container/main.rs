//! `duplex run --container` on this host's own kernel: what a container is, seen from inside and from
//! outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod ends;
mod engines;
mod escapes;
mod leftovers;
mod limits;
mod management;
mod many;
mod namespaces;
mod networks;
mod root;
mod streams;
mod timing;
