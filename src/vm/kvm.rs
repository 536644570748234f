//! `/dev/kvm`: opened, checked for what duplex needs, and asked for a VM.

use std::path::Path;

use kvm_ioctls::{Cap, Kvm, VmFd};
use thiserror::Error;

/// The one API version there is (Linux, Documentation/virt/kvm/api.rst, section 4.1).
const API_VERSION: i32 = 12;

/// Where KVM is.
pub const DEVICE: &str = "/dev/kvm";

/// What must be there, and what it is needed for.
const REQUIRED: [(Cap, &str); 10] = [
    (Cap::Irqchip, "an in-kernel interrupt controller"),
    (Cap::Pit2, "an in-kernel PIT"),
    (Cap::UserMemory, "guest memory from user space"),
    (Cap::SetTssAddr, "the task state segment for real mode on VMX"),
    (Cap::SetIdentityMapAddr, "the identity map for real mode on VMX"),
    (Cap::ExtCpuid, "CPUID set by the VMM"),
    (Cap::Irqfd, "interrupts by eventfd"),
    (Cap::Ioeventfd, "writes by the guest that ring an eventfd"),
    (Cap::MpState, "reading whether a vCPU is halted"),
    (Cap::ImmediateExit, "leaving KVM_RUN at once"),
];

/// Why KVM cannot be used.
#[derive(Debug, Error)]
pub enum Error {
    /// There is no such device.
    #[error(
        "{0} does not exist: the kvm module is not loaded, or this machine's hypervisor hides \
         virtualization; see 'duplex doctor', or use --testbed auto"
    )]
    Missing(String),
    /// EACCES.
    #[error("{0} may not be opened by this user: join the group that owns it (often kvm)")]
    Permission(String),
    /// Any other error of open(2) or of the first ioctl.
    #[error("{0} cannot be used: {1}")]
    Open(String, #[source] kvm_ioctls::Error),
    /// A file that answers no KVM call.
    #[error("{0} is not the KVM device: remove it and load the kvm module")]
    NotKvm(String),
    /// Another version of the API.
    #[error("{0} speaks KVM API version {1}; duplex needs {API_VERSION}")]
    Version(String, i32),
    /// A capability is missing.
    #[error("this host's KVM lacks {0}: a newer kernel has it")]
    Capability(&'static str),
    /// KVM_CREATE_VM and what belongs to it.
    #[error("KVM cannot {0}: {1}")]
    Call(&'static str, #[source] kvm_ioctls::Error),
}

/// Opens KVM and checks that it has what duplex needs.
///
/// # Errors
/// What is missing, and what to do about it.
pub fn open(path: &Path) -> Result<Kvm, Error> {
    let name = path.display().to_string();
    let c_path = std::ffi::CString::new(name.as_str()).map_err(|_| Error::NotKvm(name.clone()))?;
    let kvm = Kvm::new_with_path(&c_path).map_err(|error| match error.errno() {
        libc::ENOENT | libc::ENODEV | libc::ENXIO => Error::Missing(name.clone()),
        libc::EACCES | libc::EPERM => Error::Permission(name.clone()),
        libc::EISDIR => Error::NotKvm(name.clone()),
        _ => Error::Open(name.clone(), error),
    })?;
    match kvm.get_api_version() {
        API_VERSION => {}
        -1 => return Err(Error::NotKvm(name)),
        other => return Err(Error::Version(name, other)),
    }
    match REQUIRED.iter().find(|(cap, _)| !kvm.check_extension(*cap)) {
        Some((_, purpose)) => Err(Error::Capability(purpose)),
        None => Ok(kvm),
    }
}

/// Creates an empty VM.
///
/// # Errors
/// KVM's; a signal that interrupts the call is no error.
pub fn create_vm(kvm: &Kvm) -> Result<VmFd, Error> {
    loop {
        match kvm.create_vm() {
            Err(error) if error.errno() == libc::EINTR => {}
            result => return result.map_err(|error| Error::Call("create a VM", error)),
        }
    }
}
