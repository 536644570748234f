//! `duplex run --container` on this host's own kernel: what a container is, seen from inside and from
//! outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod attempts;
mod capabilities;
mod controls;
mod ends;
mod engines;
mod escapes;
mod leftovers;
mod limits;
mod links;
mod management;
mod many;
mod namespaces;
mod neighbours;
mod networks;
mod root;
mod security;
mod streams;
mod timing;
