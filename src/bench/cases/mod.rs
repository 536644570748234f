//! What is measured: one question a file. Each gives tables, on the machine that it runs on.

mod asked;
pub mod cpu;
pub mod density;
mod held;
pub mod isolation;
mod kernel_memory;
pub mod memory;
mod processes;
