//! What this machine can do.

mod processor;
mod virtualization;

pub use processor::physical_address_bits;
pub use virtualization::{Virtualization, virtualization};
