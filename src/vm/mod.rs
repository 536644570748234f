//! The hardware half: a VM on KVM.

pub mod background;
pub mod boot;
pub mod bus;
pub mod console;
pub mod control;
pub mod cpuid;
pub mod devices;
pub mod end;
pub mod exit;
pub mod gdb;
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
pub mod session;
mod timer;
pub mod vcpu;
mod watch;
