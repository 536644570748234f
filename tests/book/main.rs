//! The book in docs/book, and the other documents: what they point at is there, and the commands that
//! they show do what they show.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod commands;
#[path = "../common/mod.rs"]
mod common;
mod console;
mod document;
mod links;
mod pictures;
