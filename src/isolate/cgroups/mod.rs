//! Control groups: what a set of processes may use, what it has used, and a hold on all of them,
//! cgroups(7); Linux, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
//!
//! ```text
//! BASE/                the hierarchy's root, or the topmost group above our own that this user may
//!                      change: each mounted hierarchy has one, and both versions may be mounted
//!   duplex/            ours, shared by all instances; who wants a limit for all of them sets it here
//!     NAME/            an instance's
//! ```
//!
//! A [`Plan`] is made first, a list of steps that can be printed, and carried out second. Nothing but
//! groups below `duplex` is made, changed or removed, except that version 2 wants controllers to be
//! passed down from BASE (`cgroup.subtree_control`).
//!
//! | file | idea |
//! |---|---|
//! | `controller` | what can be controlled, and its names |
//! | `hierarchies` | where our groups are |
//! | `limits` | which files limits are written to; `v1` and `v2` know the names |
//! | `devices` | which devices may be used; `device_filter` is the program that tells version 2 |
//! | `plan`, `step` | the steps to a group |
//! | `group` | a group that exists: its processes, its end |
//! | `freezer` | stopping all of its processes |
//! | `usage` | what it has used; `v1` and `v2` know the names |
//! | `sweep` | what instances that were killed have left |
//! | `tree`, `files` | groups in groups, and small files |

mod controller;
mod device_filter;
mod devices;
mod error;
mod files;
mod freezer;
mod group;
mod hierarchies;
mod limits;
mod plan;
mod step;
mod sweep;
mod tree;
mod usage;
mod v1;
mod v2;

pub use controller::Controller;
pub use devices::{DeviceKind, DeviceRule};
pub use error::Error;
pub use group::{Group, Member, Version};
pub use hierarchies::Cgroups;
pub use plan::{Plan, Purpose};
pub use step::{Action, Step};
pub use usage::{Cpu, Io, Memory, Pressure, Pressures, Tasks, Usage};

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
