//! GDB, attached from outside: the guest is stopped, looked at, changed and let go on.
//!
//! A thread serves GDB's remote protocol on a socket; what it asks of the guest is done while all vCPUs stand
//! still ([`Inferior`]). How the guest is made to stop is in `hooks`; why so is told in docs/gdb.md.

mod breakpoints;
pub(super) mod hooks;
pub mod inferior;
mod kvm;
pub mod listener;
mod points;
pub mod registers;
pub mod server;
pub mod symbols;
mod target;
mod watchpoints;
mod xml;

pub use inferior::Inferior;
pub(super) use kvm::Debugger;
pub use server::{Server, Settings};
pub use xml::View;
