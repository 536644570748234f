//! What happened and when.

pub mod boot;
pub mod exits;
pub mod steps;
