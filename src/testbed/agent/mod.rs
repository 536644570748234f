//! The inside of the testbed: PID 1 of the emulated machine, and the processes that run sessions.
//!
//! The machine's whole initramfs is this program and some kernel modules. As PID 1 it turns the
//! host's exported file system into a root that can be written to (to memory), and then waits for
//! clients on the session ports. Each session gets a process of its own, PID 1 of a PID namespace
//! and owner of a mount namespace: whatever a command starts or mounts ends with its session.

mod base;
mod command_line;
mod devices;
mod hypervisor;
mod pid1;
mod session;

pub use pid1::main as agent;
pub use session::main as session;

/// Where the files and directories that commands name are mounted, by number.
const NAMED: &str = "/run/duplex/named";

/// Where PID 1 has the host's file system; sessions see it as their root.
const HOST: &str = "/host";
