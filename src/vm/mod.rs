//! The hardware half: a VM on KVM.

pub mod background;
pub mod boot;
pub mod bus;
pub mod console;
pub mod control;
pub mod cpuid;
pub mod devices;
pub mod end;
mod exit;
mod exit_log;
mod halt;
mod huge_pages;
pub mod irq;
pub mod kvm;
pub mod layout;
mod lost_memory;
pub mod machine;
pub mod memory;
pub mod output;
pub mod reclaim;
pub mod report;
mod sampler;
pub mod session;
mod statistics;
mod timer;
pub mod vcpu;
mod watch;
