//! What this machine can do: facts, each with the remedy where something is lacking.
//!
//! Nothing here changes the machine, and what can be tried without leaving a trace is tried rather
//! than looked up: permission to open a device, a user namespace.

mod cgroups;
mod check;
mod hierarchies;
mod kernel;
mod network;
mod processor;
mod programs;
mod tools;
mod users;
mod virtualization;

pub use cgroups::cgroups;
pub use check::{Check, State};
pub use hierarchies::{Hierarchies, Legacy, Mount, own_group};
pub use kernel::{apparmor, landlock, overlayfs, user_namespaces};
pub use network::{Resolver, machine_id, resolver, tun};
pub use processor::physical_address_bits;
pub(crate) use programs::find_program;
pub use programs::installed_program;
pub use tools::{Tool, tools};
pub use users::{user_id, user_name};
pub use virtualization::{Vendor, Virtualization, virtualization};
