//! What this machine can do.

mod virtualization;

pub use virtualization::{Virtualization, virtualization};
