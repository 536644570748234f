//! KVM_RUN, and why it came back as a value.

use kvm_bindings::{KVM_EXIT_IO, KVM_EXIT_IO_IN, kvm_debug_exit_arch, kvm_run};
use kvm_ioctls::{VcpuExit, VcpuFd};

use super::report::Cause;

/// Why a vCPU came back from the guest, with what it wants done.
pub enum Exit<'a> {
    /// `in`: the port, how many bytes an access has, and room for the data.
    PortIn(u16, usize, &'a mut [u8]),
    /// `out`: the port, how many bytes an access has, and the data.
    PortOut(u16, usize, &'a [u8]),
    /// A load from where KVM found no memory, and room for the data.
    MmioRead(u64, &'a mut [u8]),
    /// A store to where KVM found no memory, and the data.
    MmioWrite(u64, &'a [u8]),
    /// `hlt`, where KVM has no interrupt controllers that could end it.
    Halted,
    /// A breakpoint, a watchpoint or a single step, where KVM_SET_GUEST_DEBUG has asked for them.
    Debug(kvm_debug_exit_arch),
    /// A signal: somebody wants something of this thread.
    Interrupted,
    /// The vCPU waits for its SIPI, and something else came.
    NotStarted,
    /// The guest cannot go on.
    Fatal(Cause),
    /// Memory that the guest has is gone on the host.
    LostMemory,
    /// KVM_RUN itself failed.
    Failed(kvm_ioctls::Error),
}

/// Enters the guest and returns when it leaves.
pub fn enter(vcpu: &mut VcpuFd) -> Exit<'_> {
    let fatal = match vcpu.run() {
        // Dealt with below: how wide an access was stands only in the run structure.
        Ok(VcpuExit::IoIn(..) | VcpuExit::IoOut(..)) => None,
        Ok(VcpuExit::MmioRead(gpa, data)) => {
            // SAFETY: the slice points into the vCPU's run structure, which stays mapped for as
            // long as `vcpu` lives; only the borrow checker can't see that this arm returns.
            let data = unsafe { std::slice::from_raw_parts_mut(data.as_mut_ptr(), data.len()) };
            return Exit::MmioRead(gpa, data);
        }
        Ok(VcpuExit::MmioWrite(gpa, data)) => {
            // SAFETY: as for a load, just above.
            let data = unsafe { std::slice::from_raw_parts(data.as_ptr(), data.len()) };
            return Exit::MmioWrite(gpa, data);
        }
        Ok(VcpuExit::Hlt) => return Exit::Halted,
        Ok(VcpuExit::Debug(debug)) => return Exit::Debug(debug),
        Ok(VcpuExit::Intr) => return Exit::Interrupted,
        Ok(VcpuExit::Shutdown) => Some(Cause::TripleFault),
        Ok(VcpuExit::FailEntry(reason, _)) => Some(Cause::FailEntry(reason)),
        Ok(VcpuExit::InternalError) => Some(Cause::Internal(u32::MAX)),
        Ok(VcpuExit::MemoryFault { .. }) => return Exit::LostMemory,
        Ok(_) => Some(Cause::Unexpected(u32::MAX)),
        Err(error) => {
            return match error.errno() {
                libc::EINTR => Exit::Interrupted,
                libc::EAGAIN => Exit::NotStarted,
                libc::EFAULT | libc::EHWPOISON => Exit::LostMemory,
                _ => Exit::Failed(error),
            };
        }
    };
    let run = vcpu.get_kvm_run();
    match fatal {
        Some(Cause::Internal(_)) => {
            // SAFETY: for KVM_EXIT_INTERNAL_ERROR this is the union's valid member.
            Exit::Fatal(Cause::Internal(unsafe { run.__bindgen_anon_1.internal.suberror }))
        }
        Some(Cause::Unexpected(_)) => Exit::Fatal(Cause::Unexpected(run.exit_reason)),
        Some(cause) => Exit::Fatal(cause),
        None => port_access(run),
    }
}

/// The port access that the run structure describes.
fn port_access(run: &mut kvm_run) -> Exit<'_> {
    if run.exit_reason != KVM_EXIT_IO {
        return Exit::Fatal(Cause::Unexpected(run.exit_reason));
    }
    // SAFETY: for KVM_EXIT_IO this is the union's valid member.
    let io = unsafe { run.__bindgen_anon_1.io };
    let size = usize::from(io.size);
    let length = size * usize::try_from(io.count).unwrap_or(0);
    let start = usize::try_from(io.data_offset).unwrap_or(0);
    // SAFETY: KVM puts the data at this offset from the run structure's start, inside of the
    // mapping that the vCPU's file descriptor owns and `run` borrows.
    let data = unsafe {
        let first = std::ptr::from_mut(run).cast::<u8>().add(start);
        std::slice::from_raw_parts_mut(first, length)
    };
    match u32::from(io.direction) {
        KVM_EXIT_IO_IN => Exit::PortIn(io.port, size, data),
        _ => Exit::PortOut(io.port, size, data),
    }
}
