//! duplex: one image, two homes. A Linux guest in a KVM virtual machine, or the same root file
//! system in a container, from one command line.
//!
//! # The house
//!
//! Modules in layer order: a module imports only from modules above its own in this list
//! (`tests/architecture.rs` keeps that true).
//!
//! | module | idea |
//! |---|---|
//! | `terminal` | the caller's terminal: raw mode, and back on every way out |
//! | `standard_streams` | which of the standard streams were open at the start |
//! | `failure` | a step that failed, and what the system said |
//! | `state` | what of this user's runs now, on disk |
//! | `console_log` | a machine's last words |
//! | `random` | bytes that nobody can guess |
//! | `session` | a command that runs elsewhere: its streams, signals and end, on both sides |
//! | `compression` | gzip, xz, zstd and LZ4, undone with a bound on what comes out |
//! | `workload` | what to run: kernel, command line, CPUs, memory; parsing and validation |
//! | `trace` | what happened and when: boot phases, exits, requests; recorded, shown, exported |
//! | `guest_images` | Debian's kernels, the tuned kernel and small root file systems, cached |
//! | `host` | what this machine can do |
//! | `isolate` | the host kernel's isolation primitives |
//! | `file_server` | virtiofsd: directories of this host, for machines |
//! | `init` | PID 1 of instances, and the agent of `run` in them |
//! | `instances` | what runs in either half, for other processes to find |
//! | `image` | root file systems: imported, stored, and as disks that guests read |
//! | `vm` | the hardware half: KVM, memory, boot protocols, devices |
//! | `container` | the shared-kernel half: namespaces, layered root, PID 1 |
//! | `network` | bridges with NAT, and instances on them |
//! | `testbed` | an emulated machine with hardware virtualization, for hosts that lack it |
//! | `bench` | both halves and others, measured on the same work |
//! | `learn` | lesson guests and their narration; lessons about containers |
//! | `cli` | one file a subcommand |

pub mod bench;
pub mod cli;
pub mod compression;
pub mod console_log;
pub mod container;
pub mod failure;
pub mod file_server;
pub mod guest_images;
pub mod host;
pub mod image;
pub mod init;
pub mod instances;
pub mod isolate;
pub mod learn;
pub mod network;
pub mod random;
pub mod session;
pub mod standard_streams;
pub mod state;
pub mod terminal;
pub mod testbed;
pub mod trace;
pub mod vm;
pub mod workload;

#[cfg(test)]
#[path = "../tests/samples/mod.rs"]
mod samples;
